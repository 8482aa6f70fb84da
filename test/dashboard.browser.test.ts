/**
 * The dashboard in a real Chromium. A small server here plays the management API, so that every
 * condition of the page (empty, over a limit, failing, throttled) can be had at will.
 * SPENDRA_TEST_SCREENSHOTS names a folder that receives a picture of each condition.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import {
  type Browser,
  type BrowserContext,
  chromium,
  type Locator,
  type Page,
} from "playwright-core";
import { type DashboardAsset, loadDashboardAssets } from "../src/dashboard/assets.ts";
import { findChromium } from "./chromium.ts";

const NOW = new Date("2026-11-21T09:25:00Z");
const DAY_MS = 86_400_000;
// Below Bun's own limit for a test, because that one ends the browser and all later tests.
const WAIT_MAX_MS = 8_000;
const CAPABILITIES = ["budget.read", "ledger.read", "usage.read", "reservation.read"];
const CHROMIUM_ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

type Answer = { status?: number; headers?: Record<string, string>; body?: unknown };
type Handler = (request: Request, url: URL) => Answer | Promise<Answer>;

let browser: Browser;
let assets: ReadonlyMap<string, DashboardAsset>;
let context: BrowserContext;
let page: Page;
let server: ReturnType<typeof Bun.serve>;
/** What the management API answers, by method and path; a test replaces what it is about. */
let api: Map<string, Handler>;
let asked: string[];
let complaints: string[];

beforeAll(async () => {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error("no Chromium was found");
  assets = await loadDashboardAssets();
  browser = await chromium.launch({ executablePath, args: CHROMIUM_ARGUMENTS });
});
afterAll(() => browser.close());

beforeEach(async () => {
  api = new Map(Object.entries(busyOrganization()));
  asked = [];
  complaints = [];
  server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: answer });
  await openPage({});
});

afterEach(async () => {
  await context.close();
  await server.stop(true);
  expect(complaints).toEqual([]);
});

test("a visitor signs in and sees the figures of the organization", async () => {
  api.set("GET /session", () => problem(401, "Nobody is signed in."));
  await page.goto(origin());
  await page.getByLabel("E-mail").fill("ada@acme.example");
  await page.getByLabel("Password").fill("correct horse");
  await shoot("login");
  await page.keyboard.press("Enter");
  await page.getByText("Updated just now").waitFor();
  expect(await page.title()).toBe("Overview · Spendra");
  expect(await text(".organization")).toBe("Acme Research");
  expect(await text(".person")).toContain("org admin");
  expect(await text(".figures")).toContain("$1,183.260917");
  expect(await text(".figures")).toContain("$0.418300015");
  await page.locator(".plot canvas").waitFor();
  await shoot("overview");
});

test("a wrong password is answered with the server's own words", async () => {
  api.set("GET /session", () => problem(401, "Nobody is signed in."));
  api.set("POST /session", () => problem(401, "E-mail or password is wrong."));
  await signIn();
  await page.getByRole("alert").waitFor();
  expect(await text('[role="alert"]')).toBe("E-mail or password is wrong.");
  expect(await page.getByRole("button", { name: "Sign in" }).isVisible()).toBe(true);
  await shoot("login-refused");
});

test("a throttled login says when the next attempt is possible and waits for it", async () => {
  api.set("GET /session", () => problem(401, "Nobody is signed in."));
  api.set("POST /session", () => ({
    ...problem(429, "Too many attempts to sign in."),
    headers: { "retry-after": "30" },
  }));
  await signIn();
  await page.getByRole("button", { name: "Try again in 30 s" }).waitFor();
  await page.getByLabel("Password").press("Enter");
  expect(asked.filter((it) => it === "POST /session")).toHaveLength(1);
  await page.clock.runFor(30_000);
  await page.getByRole("button", { name: "Sign in" }).waitFor();
});

test("a field that the server refuses is marked with the reason", async () => {
  api.set("GET /session", () => problem(401, "Nobody is signed in."));
  api.set("POST /session", () =>
    problem(422, "Some fields are wrong.", "must be an e-mail address"),
  );
  await signIn();
  await page.getByText("must be an e-mail address").waitFor();
  const email = page.getByLabel("E-mail");
  expect(await email.getAttribute("aria-invalid")).toBe("true");
  expect(await email.getAttribute("aria-describedby")).toBe("email-reason");
});

test("a budget shows settled, held and left, and says when it renews", async () => {
  await openOverview();
  const budget = page.locator(".budget", { hasText: "Platform team" });
  expect(await text(budget)).toContain("Team Platform · openai / gpt-4o");
  expect(await text(budget)).toContain("Monthly, renews in 9 days");
  expect(await text(budget)).toContain("Tue, 1 Dec 2026, 01:00 CET");
  expect(await text(budget.locator(".numbers"))).toMatch(
    /^Settled\$310\.204Held\$0\.4183Left\$189\.3777 of \$500\.00$/,
  );
  expect(await budget.getByRole("img").getAttribute("aria-label")).toBe(
    "Platform team: $310.204 settled, $0.4183 held, $189.3777 left of the limit of $500.00",
  );
});

test("a budget over its limit comes first and says by how much", async () => {
  await openOverview();
  const first = page.locator(".budget").first();
  expect(await text(first)).toContain("Over limit");
  expect(await text(first.locator(".numbers"))).toMatch(/Over\$1\.23Limit\$40\.00$/);
  expect(await first.locator(".bar-over").isVisible()).toBe(true);
});

test("the most urgent budgets come first and the others are one click away", async () => {
  await openOverview();
  expect(await page.locator(".budget").count()).toBe(6);
  await page.getByRole("button", { name: "Show all 7" }).click();
  expect(await text(page.locator(".budget").last())).toContain(
    "Monthly, opens with the first call",
  );
});

test("ledger amounts are exact, and older entries come by cursor", async () => {
  await openOverview();
  expect(await page.locator(".ledger tbody tr").count()).toBe(20);
  expect(await text(page.locator(".ledger tbody tr"))).toContain("$0.000315");
  await page.getByRole("button", { name: "Load more" }).click();
  await page.locator(".ledger tbody tr").nth(39).waitFor();
  await page.getByRole("button", { name: "Load more" }).click();
  await page.getByText("That is the whole ledger.").waitFor();
  expect(await page.locator(".ledger tbody tr").count()).toBe(45);
});

test("the figures renew every ten seconds, while the page can be seen", async () => {
  await openOverview();
  await page.clock.runFor(5_000);
  await page.getByText("Updated 5 s ago").waitFor();
  api.set("GET /reservations", () => list([]));
  await page.clock.runFor(5_000);
  await page.getByText("no call is running").waitFor();

  await setVisibility("hidden");
  const askedBefore = asked.length;
  await page.clock.runFor(60_000);
  expect(asked.length).toBe(askedBefore);
  api.set("GET /reservations", () => list([{ id: "rsv_1", amountUsd: "0.5" }]));
  await setVisibility("visible");
  await page.getByText("for 1 running call").waitFor();
});

test("without calls and budgets the page says what to do next", async () => {
  api.set("GET /budgets", () => list([]));
  api.set("GET /usage/daily", () => list([]));
  api.set("GET /reservations", () => list([]));
  api.set("GET /ledger-entries", () => list([]));
  await openOverview();
  expect(await text("#ledger")).toContain(`curl ${origin()}/v1/chat/completions`);
  expect(await text("#budgets")).toContain("Ask an administrator");
  await shoot("empty");
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByRole("button", { name: "Copy the command" }).click();
  await page.getByText("copied").waitFor();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain("$SPENDRA_API_KEY");
});

test("open alerts come first, each with its sentence, and go when they are resolved", async () => {
  const alert = { id: "alt_1", severity: "critical", summary: "The books differ.", openedAt: NOW };
  api.set("GET /session", () => ({ body: caller([...CAPABILITIES, "alert.read"]) }));
  api.set("GET /alerts", (_, url) => list(url.search.includes("state=open") ? [alert] : []));
  await openOverview();
  expect(await text("#alerts li")).toBe("CriticalThe books differ.just now");
  await shoot("alerts");
  api.set("GET /alerts", () => list([]));
  await page.clock.runFor(10_000);
  await page.locator("#alerts").waitFor({ state: "detached" });
});

test("what the caller may not see is neither shown nor asked for", async () => {
  api.set("GET /session", () => ({ body: caller(["usage.read"]) }));
  await openOverview();
  await page.getByRole("heading", { name: "Spend by day" }).waitFor();
  expect(await page.locator("#budgets, #ledger").count()).toBe(0);
  expect(asked).toEqual(["GET /session", "GET /usage/daily"]);
});

test("a part that fails says why and recovers by a click; the others stay", async () => {
  api.set("GET /budgets", () => problem(500, "The budgets could not be read."));
  await openOverview();
  expect(await text("#budgets")).toContain("The budgets could not be read. (request req_9)");
  expect(await page.locator(".ledger tbody tr").count()).toBe(20);
  api.set("GET /budgets", () => list(budgets()));
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator(".budget").first().waitFor();
});

test("a server that cannot be reached leaves the last figures and a way to retry", async () => {
  await openOverview();
  complaints.length = 0;
  await page.route("**/management/**", (route) => route.abort());
  await page.getByRole("button", { name: "Refresh" }).click();
  await page.getByText("The server cannot be reached.").waitFor();
  expect(await text('[role="alert"]')).toContain("from 10:25:0");
  expect(await text(".figures")).toContain("$1,183.260917");
  await shoot("unreachable");
  await page.unroute("**/management/**");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText("The server cannot be reached.").waitFor({ state: "detached" });
  complaints.length = 0;
});

test("a page opened while the server is away says so and goes on when it is back", async () => {
  api.set("GET /session", () => ({ status: 503, body: "no upstream" }));
  await page.goto(origin());
  await page.getByText("The server cannot be reached.").waitFor();
  await shoot("error");
  api.set("GET /session", () => ({ body: caller(CAPABILITIES) }));
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
});

test("an ended session leads back to the login with the reason", async () => {
  await openOverview();
  for (const path of ["budgets", "usage/daily", "reservations", "ledger-entries"]) {
    api.set(`GET /${path}`, () => problem(401, "The session has ended."));
  }
  await page.getByRole("button", { name: "Refresh" }).click();
  await page.getByText("Your session has ended.").waitFor();
});

test("signing out ends the session at the server", async () => {
  await openOverview();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  expect(asked.at(-1)).toBe("DELETE /session");
});

test("the chart has a table of the same figures", async () => {
  await openOverview();
  await page.getByText("Show as table").click();
  expect(await page.locator(".day-table tbody tr").count()).toBe(30);
  expect(await text(page.locator(".day-table tbody tr"))).toContain("Sat 21 Nov");
});

test.each([
  { width: 360, colorScheme: "light" },
  { width: 360, colorScheme: "dark" },
  { width: 768, colorScheme: "light" },
  { width: 1280, colorScheme: "dark" },
] as const)("nothing is cut off or scrolls sideways at $width px, $colorScheme", async (look) => {
  await context.close();
  await openPage(look);
  await openOverview();
  await page.locator(".plot canvas").waitFor();
  expect(await overflowPx()).toBe(0);
  await shoot(`overview-${look.width}-${look.colorScheme}`);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  expect(await overflowPx()).toBe(0);
  await shoot(`login-${look.width}-${look.colorScheme}`);
});

async function openPage(look: { width?: number; colorScheme?: "light" | "dark" }): Promise<void> {
  const { width = 1280, colorScheme = "light" } = look;
  context = await browser.newContext({
    viewport: { width, height: width < 600 ? 760 : 860 },
    colorScheme,
    timezoneId: "Europe/Berlin",
  });
  context.setDefaultTimeout(WAIT_MAX_MS);
  page = await context.newPage();
  await page.clock.install({ time: NOW });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    const isStatusLine = message.text().startsWith("Failed to load resource: the server responded");
    if (message.type() === "error" && !isStatusLine) complaints.push(message.text());
  });
  await page.route(
    (url) => url.origin !== origin(),
    (route) => {
      complaints.push(`asked another host: ${route.request().url()}`);
      return route.abort();
    },
  );
}

async function openOverview(): Promise<void> {
  await page.goto(origin());
  await page.getByText("Updated just now").or(page.getByRole("alert")).first().waitFor();
}

async function signIn(): Promise<void> {
  await page.goto(origin());
  await page.getByLabel("E-mail").fill("ada@acme.example");
  await page.getByLabel("Password").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function setVisibility(state: "hidden" | "visible"): Promise<void> {
  await page.evaluate((value) => {
    Object.defineProperty(document, "hidden", { value: value === "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, state);
}

function overflowPx(): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
}

/** The text of the first element that matches. */
async function text(found: string | Locator): Promise<string> {
  const locator = typeof found === "string" ? page.locator(found) : found;
  return (await locator.first().textContent()) ?? "";
}

async function shoot(name: string): Promise<void> {
  const folder = process.env["SPENDRA_TEST_SCREENSHOTS"];
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

function origin(): string {
  return `http://127.0.0.1:${server.port}`;
}

async function answer(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const asset = assets.get(url.pathname);
  if (asset) return new Response(new Blob([asset.body]), { headers: asset.headers });
  const call = `${request.method} ${url.pathname.replace(/^\/management/, "")}`;
  asked.push(call);
  const handler = api.get(call);
  if (!handler) return new Response("not found", { status: 404 });
  const { status = 200, headers = {}, body } = await handler(request, url);
  return status === 204 ? new Response(null, { status }) : Response.json(body, { status, headers });
}

function problem(status: number, detail: string, emailReason?: string): Answer {
  const errors = emailReason ? [{ field: "email", reason: emailReason }] : [];
  return {
    status,
    body: { title: "Refused", status, detail, request_id: requestId(status), errors },
  };
}

function requestId(status: number): string | undefined {
  return status >= 500 ? "req_9" : undefined;
}

function list(items: unknown[], nextCursor: string | null = null): Answer {
  return { body: { items, nextCursor, capabilities: CAPABILITIES } };
}

function caller(capabilities: string[]): unknown {
  return {
    user: { id: "usr_1", email: "ada@acme.example", name: "Ada Lovelace" },
    organization: { id: "org_1", name: "Acme Research" },
    role: "org_admin",
    capabilities,
  };
}

function busyOrganization(): Record<string, Handler> {
  const session = () => ({ body: caller(CAPABILITIES) });
  const held = [
    { id: "rsv_1", amountUsd: "0.4183" },
    { id: "rsv_2", amountUsd: "0.000000015" },
  ];
  return {
    "GET /session": session,
    "POST /session": session,
    "DELETE /session": () => ({ status: 204 }),
    "GET /budgets": () => list(budgets()),
    "GET /usage/daily": () => list(usage()),
    "GET /reservations": () => list(held),
    "GET /ledger-entries": (_, url) => ledgerPage(Number(url.searchParams.get("cursor") ?? 0)),
  };
}

function budgets(): unknown[] {
  const month = { period: "month", start: "2026-11-01T00:00:00Z", end: "2026-12-01T00:00:00Z" };
  const organization = { kind: "organization", id: "org_1", name: "Acme Research" };
  const openai = { provider: "openai", model: "gpt-4o" };
  return [
    budget("Company", organization, {}, month, ["2500", "1183.260917", "0.418300015"]),
    budget("Platform team", team("Platform"), openai, month, ["500", "310.204", "0.4183"]),
    budget(
      "Nightly evaluation agent",
      { kind: "agent", id: "agt_7", name: "nightly-evals" },
      {},
      { period: "day", start: "2026-11-21T00:00:00Z", end: "2026-11-22T00:00:00Z" },
      ["40", "38.11", "3.12"],
    ),
    budget("Support copilot", team("Customer Support"), {}, month, ["120", "109.5", "2.1"]),
    budget(
      "Pilot",
      { kind: "project", id: "prj_1", name: "Contract reader" },
      {},
      { period: "lifetime", start: "2026-01-01T00:00:00Z", end: null },
      ["1000", "0.000315", "0"],
    ),
    budget("Interns", team("Interns"), {}, month, ["25", "0", "0"]),
    { ...budget("Christmas", team("Shop"), {}, month, ["75", "0", "0"]), window: null },
  ];
}

function team(name: string): unknown {
  return { kind: "team", id: `team_${name}`, name };
}

function budget(
  name: string,
  scope: unknown,
  selector: { provider?: string; model?: string },
  { period, start, end }: { period: string; start: string; end: string | null },
  [limitUsd, settledUsd, heldUsd]: [string, string, string],
): object {
  const leftUsd = (Number(limitUsd) - Number(settledUsd) - Number(heldUsd)).toFixed(9);
  return {
    ...{ id: `bud_${name}`, name, scope, provider: null, model: null, ...selector },
    ...{ amountUsd: limitUsd, period, timeZone: "Europe/Berlin" },
    window: { start, end, limitUsd, settledUsd, heldUsd, leftUsd },
  };
}

/** 31 days; those of November sum up to $1,183.260917. */
function usage(): unknown[] {
  return Array.from({ length: 31 }, (_, index) => {
    const date = new Date(NOW.getTime() - (30 - index) * DAY_MS).toISOString().slice(0, 10);
    if (date === "2026-11-21") return { date, costUsd: "44.160917", calls: 3_166 };
    const cents = (index * 7_919) % 4_100;
    const baseCents = date.startsWith("2026-11") ? 4_000 : 3_000;
    return { date, costUsd: ((cents + baseCents) / 100).toFixed(2), calls: 40 + cents };
  });
}

const ENTRY_COUNT = 45;
const AMOUNTS = ["0.000315", "0.0412", "1.2", "0.000000015", "0.18734", "12"];
const MODELS = ["gpt-4o-mini", "gpt-4o", "o4-mini", "claude-sonnet-4-5", "text-embedding-3-large"];

function ledgerPage(start: number): Answer {
  const end = Math.min(start + 20, ENTRY_COUNT);
  const items = Array.from({ length: end - start }, (_, index) => ledgerEntry(start + index));
  return list(items, end < ENTRY_COUNT ? String(end) : null);
}

function ledgerEntry(index: number): unknown {
  const tail = String(index).padStart(4, "0");
  return {
    id: `led_01KAJ8Z6M3Q9T5W2X7${tail}`,
    occurredAt: new Date(NOW.getTime() - index * 97_000).toISOString(),
    kind: "settlement",
    amountUsd: AMOUNTS[index % AMOUNTS.length],
    requestId: `req_01KAJ8Z6M3Q9T5W2X7YB${tail}`,
    reservationId: `rsv_01KAJ8Z6M3Q9T5W2X7YC${tail}`,
    spendEventId: `spd_01KAJ8Z6M3Q9T5W2X7YD${tail}`,
    apiKeyId: "key_01KAJ5R2N8P4",
    actorId: index % 3 === 0 ? "agt_01KAJ4ZZPV" : "emp_01KAJ4ZZQ1",
    provider: index % 5 === 3 ? "anthropic" : "openai",
    model: MODELS[index % MODELS.length],
    usageSource: index % 7 === 4 ? "estimated" : index % 11 === 6 ? "recovered" : "provider",
  };
}
