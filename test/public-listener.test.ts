/** What any stranger may send to the public listener, below the level that HTTP clients allow. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import { startNode, type TestNode } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

let database: TestDatabase;
let node: TestNode;

beforeAll(async () => {
  database = await testDatabase();
  node = await startNode(database.url);
});

afterAll(async () => {
  expect(await node.stop()).toBe(0);
  await database.drop();
});

test.each([
  ["GET / HTTP/1.1", "["],
  ["GET /docs HTTP/1.1", "a b"],
  ["GET /v1/models HTTP/1.1", "[::"],
  ["POST /v1/chat/completions HTTP/1.1", "%"],
  ["GET /management/budgets HTTP/1.1", "["],
  ["POST /management/session HTTP/1.1", "<>"],
])("%s with the host %s is refused as the caller's mistake", async (line, host) => {
  const answer = await send(`${line}\r\nHost: ${host}\r\nContent-Length: 0`);
  expect(answer).toStartWith("HTTP/1.1 400 ");
});

test.each(["/health", "/live", "/ready"])("%s answers to any host", async (path) => {
  expect(await send(`GET ${path} HTTP/1.1\r\nHost: [`)).toStartWith("HTTP/1.1 200 ");
  expect(await send(`GET ${path} HTTP/1.0`)).toStartWith("HTTP/1.1 200 ");
});

test.each(["/%zz", "/..%2f..%2fetc%2fpasswd", "//", "/docs/../../etc/passwd", "/.env"])(
  "%s is not found, and shows nothing of the machine",
  async (path) => {
    const answer = await send(`GET ${path} HTTP/1.1\r\nHost: localhost`);
    expect(answer).toMatch(/^HTTP\/1\.1 404 /);
    expect(answer).not.toContain("root:");
  },
);

test("nothing of all this is an error of the node", () => {
  expect(node.lines.filter((line) => line.includes('"level":"error"'))).toEqual([]);
});

/** Sends these lines and answers everything that comes back. */
function send(lines: string): Promise<string> {
  const { port } = new URL(node.url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), "127.0.0.1", () => {
      socket.write(`${lines}\r\nConnection: close\r\n\r\n`);
    });
    let answer = "";
    socket.setEncoding("utf8");
    socket.setTimeout(5_000, () => socket.destroy(new Error("no answer in time")));
    socket.on("data", (text: string) => {
      answer += text;
      // A whole answer of this listener has a length, and its sender may keep the line open.
      if (isWhole(answer)) socket.end();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(answer));
  });
}

function isWhole(answer: string): boolean {
  const [head = "", body] = answer.split("\r\n\r\n");
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
  return body !== undefined && Buffer.byteLength(body) >= length;
}
