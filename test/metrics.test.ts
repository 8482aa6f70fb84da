/** `/metrics`: who may read it, that it parses, what is in it, and that no caller makes it grow. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createMetrics } from "../src/metrics.ts";
import { type GatedProvider, gateProvider } from "./gated-provider.ts";
import { foundCompany, METRICS_TOKEN, startNode, type TestNode } from "./node.ts";
import { postChat } from "./node-calls.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { firstColumnNames, readRootFile } from "./source-files.ts";

const RANDOM_CALLS = 1_000;
const AT_ONCE = 50;
/** A family's name, its labels and its value: Prometheus, "Text-based format". */
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)$/;

type Sample = { name: string; labels: string; value: number };

let database: TestDatabase;
let provider: GatedProvider;
let node: TestNode;
let token: string;

beforeAll(async () => {
  database = await testDatabase();
  provider = gateProvider();
  provider.open();
  ({ token } = await foundCompany(database.sql, provider.baseUrl));
  node = await startNode(database.url);
});

afterAll(async () => {
  expect(await node.stop()).toBe(0);
  await provider.stop();
  await database.drop();
});

describe("the listener", () => {
  test.each(["/metrics", "/metrics/", "//metrics", "/v1/../metrics", "/METRICS"])(
    "of the public does not have %s, with or without a token",
    async (path) => {
      for (const headers of [{}, { authorization: `Bearer ${METRICS_TOKEN}` }]) {
        const response = await fetch(node.url + path, { headers });
        expect(response.status).toBe(404);
        expect(await response.text()).not.toContain("spendra_");
      }
    },
  );

  test.each([
    ["no token", {}],
    ["another token", { authorization: "Bearer another metrics token, longer than 32 bytes" }],
    ["the token and more", { authorization: `Bearer ${METRICS_TOKEN}x` }],
    ["a part of the token", { authorization: `Bearer ${METRICS_TOKEN.slice(0, -1)}` }],
    ["the token without its scheme", { authorization: METRICS_TOKEN }],
    ["another scheme", { authorization: `Basic ${btoa(`metrics:${METRICS_TOKEN}`)}` }],
  ])("answers 401 to %s", async (_, headers: Record<string, string>) => {
    const response = await fetch(`${node.metricsUrl}/metrics`, { headers });
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toBe("Bearer");
    const body = await response.text();
    expect(body).toContain("metrics_token_invalid");
    expect(body).not.toContain("spendra_");
  });

  test("answers 401 to a Spendra key, which is not the metrics token", async () => {
    const headers = { authorization: `Bearer ${token}` };
    expect((await fetch(`${node.metricsUrl}/metrics`, { headers })).status).toBe(401);
  });

  test("has nothing but the metrics", async () => {
    const headers = { authorization: `Bearer ${METRICS_TOKEN}` };
    for (const path of ["/", "/health", "/v1/models", "/management/session", "/docs"]) {
      expect((await fetch(node.metricsUrl + path, { headers })).status).toBe(404);
    }
  });
});

describe("the text", () => {
  test("parses, and each family has one help line and one type", async () => {
    const text = await readMetrics();
    const samples = parse(text);
    expect(samples.length).toBeGreaterThan(50);
    const helped = [...text.matchAll(/^# HELP (\S+) \S/gm)].map((match) => match[1] ?? "");
    const typed = [...text.matchAll(/^# TYPE (\S+) (counter|gauge|histogram|summary)$/gm)].map(
      (match) => match[1] ?? "",
    );
    expect(typed).toEqual(helped);
    expect(new Set(typed).size).toBe(typed.length);
    expect(typed.filter((name) => !/^spendra_[a-z0-9_]+$/.test(name))).toEqual([]);
    const families = new Set(typed);
    const strays = samples.filter(
      ({ name }) => !families.has(name) && !families.has(name.replace(/_(bucket|sum|count)$/, "")),
    );
    expect(strays).toEqual([]);
    expect(text.endsWith("\n")).toBe(true);
  });

  test("counts a call in every place that it passes", async () => {
    const before = parse(await readMetrics());
    expect((await postChat(node, token)).status).toBe(200);
    const after = parse(await readMetrics());
    const labels = 'route="/v1/chat/completions",status="200",policy_result="granted"';
    const grown = (name: string, withLabels = "") =>
      readValue(after, name, withLabels) - readValue(before, name, withLabels);
    expect(grown("spendra_gateway_requests_total", labels)).toBe(1);
    expect(grown("spendra_gateway_request_seconds_count", 'route="/v1/chat/completions"')).toBe(1);
    expect(grown("spendra_gateway_overhead_seconds_count")).toBe(1);
    expect(grown("spendra_provider_first_byte_seconds_count", 'provider="openai"')).toBe(1);
    expect(grown("spendra_reservations_total", 'outcome="settled"')).toBe(1);
    expect(grown("spendra_settled_usd_total", 'usage_source="provider"')).toBeCloseTo(0.0000045, 9);
    expect(grown("spendra_writer_batch_seconds_count")).toBeGreaterThanOrEqual(2);
    expect(readValue(after, "spendra_gateway_running_calls")).toBe(0);
    expect(readValue(after, "spendra_outbox_waiting")).toBeGreaterThanOrEqual(1);
  });

  test("has buckets from milliseconds to ten minutes", async () => {
    await postChat(node, token);
    const samples = parse(await readMetrics());
    for (const name of ["gateway_request", "gateway_overhead", "provider_first_byte"]) {
      const bounds = samples
        .filter((sample) => sample.name === `spendra_${name}_seconds_bucket`)
        .map(({ labels }) => /le="([^"]+)"/.exec(labels)?.[1] ?? "");
      expect(bounds).toContain("0.005");
      expect(bounds).toContain("600");
      expect(bounds).toContain("+Inf");
    }
  });
});

describe("a caller", () => {
  test("makes no series with a thousand models, paths, methods and keys of their own", async () => {
    const call = async (seed: string): Promise<void> => {
      const headers = { authorization: `Bearer ${token}` };
      const responses = await Promise.all([
        postChat(node, token, { model: `model-${seed}` }),
        postChat(node, token, { model: `gpt-4o-mini`, service_tier: `tier-${seed}` }),
        fetch(`${node.url}/v1/${seed}/chat`, { method: "POST", headers }),
        fetch(`${node.url}/v1/models?page=${seed}`, { headers }),
        fetch(`${node.url}/${seed}`, { method: `X${seed}`.slice(0, 20).toUpperCase() }),
        postChat(node, `spk_live_${seed}`),
      ]);
      await Promise.all(responses.map((response) => response.arrayBuffer()));
    };
    await call("first");
    await call("second");
    const before = seriesOf(await readMetrics());
    for (let done = 0; done < RANDOM_CALLS; done += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, () => call(crypto.randomUUID())));
    }
    const text = await readMetrics();
    // Jobs run by the clock, not by callers.
    const added = [...seriesOf(text)]
      .filter((series) => !before.has(series))
      .filter((series) => !series.startsWith("spendra_job_runs_total"));
    expect(added).toEqual([]);
    expect(text).not.toContain("model-");
    expect(seriesOf(text).size).toBeLessThan(1_000);
  }, 60_000);
});

test("every metric of ours is in the document, and nothing else is", () => {
  const own = Object.values(createMetrics())
    .flatMap((metric) => ("name" in metric ? [String(metric.name)] : []))
    .sort();
  expect(own.length).toBeGreaterThan(10);
  // Later tables say what to do about them.
  const [reference = ""] = readRootFile("docs/reference/metrics.md").split("\n## ");
  expect(firstColumnNames(reference)).toEqual(own);
});

async function readMetrics(): Promise<string> {
  const headers = { authorization: `Bearer ${METRICS_TOKEN}` };
  const response = await fetch(`${node.metricsUrl}/metrics`, { headers });
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
  return await response.text();
}

/** Throws for a line that is neither a comment nor a sample. */
function parse(text: string): Sample[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("# "))
    .map((line) => {
      const [, name, labels = "", value = ""] = SAMPLE.exec(line) ?? [];
      if (name === undefined) {
        throw new Error(`this is not a sample: ${line}`);
      }
      const number = value === "+Inf" ? Infinity : Number(value);
      if (Number.isNaN(number) && value !== "Nan" && value !== "NaN") {
        throw new Error(`this has no number: ${line}`);
      }
      return { name, labels, value: number };
    });
}

function readValue(samples: readonly Sample[], name: string, labels = ""): number {
  return samples.find((sample) => sample.name === name && sample.labels === labels)?.value ?? 0;
}

/** Names with their labels. */
function seriesOf(text: string): Set<string> {
  return new Set(parse(text).map(({ name, labels }) => `${name}{${labels}}`));
}
