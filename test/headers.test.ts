/** Which headers cross the gateway, up and down (F14, R170). */
import { describe, expect, test } from "bun:test";
import { downstreamHeaders, upstreamHeaders } from "../src/gateway/headers.ts";

const TOKEN = "spk_live_01KAJ3M0000000000000000000_canary";
const PROVIDER_KEY = "Bearer sk-proj-canary";
const credentials = { authorization: PROVIDER_KEY };

function up(caller: Record<string, string>): Record<string, string> {
  return Object.fromEntries(upstreamHeaders(new Headers(caller), credentials, TOKEN));
}

function down(provider: Record<string, string>): Record<string, string> {
  return Object.fromEntries(downstreamHeaders(new Headers(provider)));
}

/** What goes up when the caller sends nothing that may. */
const always = {
  "accept-encoding": "identity",
  authorization: PROVIDER_KEY,
  "content-type": "application/json",
};

describe("to the provider", () => {
  test.each([
    ["authorization", `Bearer ${TOKEN}`],
    ["Authorization", "Basic Y2FuYXJ5"],
    ["proxy-authorization", "Basic Y2FuYXJ5"],
    ["x-api-key", TOKEN],
    ["X-Api-Key", "another key"],
    ["api-key", TOKEN],
    ["x-goog-api-key", TOKEN],
    ["cookie", "spendra_session=canary"],
    // Wherever else the token may have been put.
    ["x-custom-auth", TOKEN],
    ["x-forwarded-authorization", `Bearer ${TOKEN}`],
    ["referer", `https://example.com/?key=${TOKEN}`],
    ["sec-websocket-protocol", `openai, key.${TOKEN}`],
    // What belongs to one connection (RFC 9110, 7.6.1).
    ["connection", "keep-alive"],
    ["keep-alive", "timeout=5"],
    ["proxy-connection", "keep-alive"],
    ["te", "trailers"],
    ["trailer", "x-checksum"],
    ["transfer-encoding", "chunked"],
    ["upgrade", "websocket"],
    ["expect", "100-continue"],
    ["content-length", "7"],
    ["content-encoding", "gzip"],
    ["host", "spendra.example.com"],
    ["openai-organization", "org-acme"],
    ["openai-project", "proj-acme"],
    ["x-spendra-stream-cost", "true"],
    ["accept-encoding", "gzip, br, zstd"],
    ["x-request-id", "the caller's own"],
    ["content-type", "text/plain"],
  ])("%s: %s does not go", (name, value) => {
    expect(up({ [name]: value })).toEqual(always);
  });

  test.each([
    ["accept", "text/event-stream"],
    ["user-agent", "openai-python/2.0"],
    ["openai-beta", "assistants=v2"],
    ["idempotency-key", "7"],
    ["x-stainless-retry-count", "0"],
    ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    ["x-unknown", "yes"],
  ])("%s: %s goes", (name, value) => {
    expect(up({ [name]: value })).toEqual({ ...always, [name]: value });
  });

  test("what Connection names does not go, in any spelling, and the rest does", () => {
    const caller = {
      connection: "close, X-Hop ,x-other,,not a name,é,authorization",
      "x-hop": "1",
      "X-Other": "2",
      "x-kept": "3",
    };
    expect(up(caller)).toEqual({ ...always, "x-kept": "3" });
  });

  test("Connection cannot take away what Spendra itself sends", () => {
    const caller = { connection: "authorization, content-type, accept-encoding" };
    expect(up(caller)).toEqual(always);
  });

  test("the provider's credential replaces the caller's under any of its names", () => {
    const headers = upstreamHeaders(
      new Headers({ "x-api-key": TOKEN, authorization: `Bearer ${TOKEN}` }),
      { "x-api-key": "sk-ant-canary" },
      TOKEN,
    );
    expect(headers.get("x-api-key")).toBe("sk-ant-canary");
    expect(headers.get("authorization")).toBeNull();
  });
});

describe("to the caller", () => {
  test.each([
    ["set-cookie", "__cf_bm=canary; path=/"],
    ["authorization", PROVIDER_KEY],
    ["proxy-authenticate", "Basic"],
    ["connection", "close"],
    ["keep-alive", "timeout=5"],
    ["te", "trailers"],
    ["trailer", "x-checksum"],
    ["transfer-encoding", "chunked"],
    ["upgrade", "h2c"],
    // The body was decompressed on the way.
    ["content-encoding", "gzip"],
    ["content-length", "7"],
  ])("%s: %s does not go", (name, value) => {
    expect(down({ [name]: value })).toEqual({});
  });

  test.each([
    ["content-type", "text/event-stream; charset=utf-8"],
    ["retry-after", "7"],
    ["retry-after-ms", "7000"],
    ["x-ratelimit-remaining-tokens", "149984"],
    ["openai-processing-ms", "412"],
    ["x-should-retry", "false"],
    ["x-unknown", "yes"],
  ])("%s: %s goes", (name, value) => {
    expect(down({ [name]: value })).toEqual({ [name]: value });
  });

  test("two cookies do not go either", () => {
    const provider = new Headers([
      ["set-cookie", "a=1"],
      ["set-cookie", "b=2"],
    ]);
    expect([...downstreamHeaders(provider)]).toEqual([]);
  });

  test("what Connection names does not go", () => {
    expect(down({ connection: "not a name,,X-Hop", "x-hop": "1", "x-kept": "2" })).toEqual({
      "x-kept": "2",
    });
  });

  test("the provider's request id goes under a name of its own", () => {
    expect(down({ "x-request-id": "req_abc" })).toEqual({ "x-provider-request-id": "req_abc" });
  });
});
