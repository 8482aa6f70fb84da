/**
 * The whole in a real Chromium: a real node on a real database, a few calls through it, and a
 * person who signs in and looks. Every other host is blocked, and none may even be asked.
 * SPENDRA_TEST_SCREENSHOTS names a folder that receives the pictures.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { findChromium } from "./chromium.ts";
import { ADMIN, foundCompany, startNode, type TestNode } from "./node.ts";
import { postChat } from "./node-calls.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { waitUntil } from "./wait-until.ts";

// Below Bun's own limit for a test, because that one ends the browser and all later tests.
const WAIT_MAX_MS = 10_000;
const CALLS = 25;
/** 12,345 and 678 tokens of gpt-4o-mini, at $0.15 and $0.60 a million. */
const USAGE = { prompt_tokens: 12_345, completion_tokens: 678, total_tokens: 13_023 };
const COST_TEXT = "$0.00225855";
const SPENT_TEXT = "$0.05646375";
const CHROMIUM_ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let browser: Browser;
let context: BrowserContext;
let page: Page;
let database: TestDatabase;
let provider: ReturnType<typeof Bun.serve>;
let node: TestNode;
let held: Promise<Response>;
const gate = Promise.withResolvers<void>();
/** What no visit may cause: requests to other hosts, errors in the console or of a script. */
let complaints: string[];

beforeAll(async () => {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error("no Chromium was found");
  browser = await chromium.launch({ executablePath, args: CHROMIUM_ARGUMENTS });
  database = await testDatabase();
  provider = Bun.serve({ hostname: "127.0.0.1", port: 0, idleTimeout: 120, fetch: answer });
  const baseUrl = `http://127.0.0.1:${provider.port}/v1`;
  const { token } = await foundCompany(database.sql, baseUrl, {
    organizationCapUsd: "0.2",
    teamCapUsd: "1.5",
  });
  node = await startNode(database.url);
  for (let call = 0; call < CALLS; call++) {
    expect((await postChat(node, token)).status).toBe(200);
  }
  // One call stays running, so that something is held.
  held = postChat(node, token, { user: "wait", max_tokens: 100_000 });
  await waitUntil("one call runs", async () => {
    const rows = await database.sql`select from reservations where status = 'held'`;
    return rows.length === 1;
  });
}, 60_000);

afterAll(async () => {
  await browser.close();
  gate.resolve();
  expect((await held).status).toBe(200);
  expect(await node.stop()).toBe(0);
  await provider.stop();
  await database.drop();
});

beforeEach(() => openPage({}));

afterEach(async () => {
  await context.close();
  expect(complaints).toEqual([]);
});

test("a person signs in, sees budgets, spend and ledger, and signs out", async () => {
  await signIn();
  expect(await page.title()).toBe("Overview · Spendra");
  expect(await textOf(".organization")).toBe("Acme");
  expect(await textOf(".figures")).toContain(SPENT_TEXT);
  const budget = page.locator(".budget", { hasText: "Platform team" });
  const numbers = (await budget.locator(".numbers").textContent()) ?? "";
  expect(numbers).toMatch(/^Settled\$0\.05646375Held\$0\.06\d+Left\$1\.38\d+ of \$1\.50$/);
  await page.locator(".plot canvas").waitFor();
  expect(await page.locator(".ledger tbody tr").count()).toBe(20);
  expect(await textOf(".ledger tbody tr")).toContain(COST_TEXT);
  await page.getByRole("button", { name: "Load more" }).click();
  await page
    .locator(".ledger tbody tr")
    .nth(CALLS - 1)
    .waitFor();
  expect(await page.locator(".ledger tbody tr").count()).toBe(CALLS);
  await page.reload();
  await page.getByText("Updated just now").waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  expect((await context.cookies()).filter(({ value }) => value !== "")).toEqual([]);
});

test("the session is in a cookie that no script can read", async () => {
  await signIn();
  const [cookie, ...others] = await context.cookies();
  expect(others).toEqual([]);
  expect(cookie).toMatchObject({ httpOnly: true, sameSite: "Strict", path: "/" });
  expect(await page.evaluate(() => document.cookie)).toBe("");
  expect(await page.evaluate(() => localStorage.length + sessionStorage.length)).toBe(0);
});

test("a wrong password is told as such, and not which half was wrong", async () => {
  for (const email of [ADMIN.email, "nobody@acme.example"]) {
    await fillSignIn(email, "not the password");
    await page.getByRole("alert").waitFor();
    expect(await textOf('[role="alert"]')).toBe("E-mail or password is wrong.");
    await page.goto("about:blank");
  }
});

test("Swagger UI lists the operations, and a person who is signed in tries one out", async () => {
  await signIn();
  await page.getByRole("link", { name: "API docs" }).click();
  await page.locator(".opblock").first().waitFor();
  expect(await page.locator(".opblock").count()).toBeGreaterThan(15);
  await shoot("docs");
  const operation = page.locator(".opblock", {
    has: page.locator('[data-path="/management/budgets"]'),
    hasText: "GET",
  });
  await operation.first().locator(".opblock-summary-control").click();
  await operation.first().getByRole("button", { name: "Try it out" }).click();
  await operation.first().getByRole("button", { name: "Execute" }).click();
  const live = operation.first().locator(".live-responses-table .response-col_status").first();
  await live.waitFor();
  await waitUntil("there is an answer", async () => {
    return (
      (await operation.first().locator(".live-responses-table").textContent()) ?? ""
    ).includes("Platform team");
  });
  expect(await operation.first().locator(".live-responses-table").textContent()).toContain("200");
  await shoot("docs-tried-out");
});

test.each([
  { width: 360, colorScheme: "light" },
  { width: 360, colorScheme: "dark" },
  { width: 1280, colorScheme: "light" },
  { width: 1280, colorScheme: "dark" },
] as const)("nothing scrolls sideways at $width px, $colorScheme", async (look) => {
  await context.close();
  await openPage(look);
  await page.goto(node.url);
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  expect(await overflowPx()).toBe(0);
  await shoot(`login-${look.width}-${look.colorScheme}`);
  await signIn();
  await page.locator(".plot canvas").waitFor();
  expect(await overflowPx()).toBe(0);
  await shoot(`overview-${look.width}-${look.colorScheme}`);
  await page.goto(`${node.url}/docs`);
  await page.locator(".opblock").first().waitFor();
  await shoot(`docs-${look.width}-${look.colorScheme}`);
  expect(await overflowPx()).toBe(0);
});

async function openPage(look: { width?: number; colorScheme?: "light" | "dark" }): Promise<void> {
  const { width = 1280, colorScheme = "light" } = look;
  complaints = [];
  context = await browser.newContext({
    viewport: { width, height: width < 600 ? 760 : 860 },
    colorScheme,
    timezoneId: "Europe/Berlin",
  });
  context.setDefaultTimeout(WAIT_MAX_MS);
  page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    // A refused sign-in and a first look without a session are answers, not errors.
    const isStatusLine = message.text().startsWith("Failed to load resource: the server responded");
    if (message.type() === "error" && !isStatusLine) complaints.push(message.text());
  });
  await page.route(
    (url) => url.protocol !== "data:" && url.protocol !== "about:" && url.origin !== node.url,
    (route) => {
      complaints.push(`asked another host: ${route.request().url()}`);
      return route.abort();
    },
  );
}

async function fillSignIn(email: string, password: string): Promise<void> {
  await page.goto(node.url);
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function signIn(): Promise<void> {
  await fillSignIn(ADMIN.email, ADMIN.password);
  await page.getByText("Updated just now").waitFor();
}

function overflowPx(): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
}

/** The text of the first element that matches. */
async function textOf(selector: string): Promise<string> {
  return (await page.locator(selector).first().textContent()) ?? "";
}

async function shoot(name: string): Promise<void> {
  const folder = process.env["SPENDRA_TEST_SCREENSHOTS"];
  if (folder) await page.screenshot({ path: join(folder, `whole-${name}.png`), fullPage: true });
}

async function answer(request: Request): Promise<Response> {
  const { user } = (await request.json()) as { user?: string };
  if (user === "wait") await gate.promise;
  const message = { role: "assistant", content: "hello" };
  return Response.json({ id: "chatcmpl-1", choices: [{ index: 0, message }], usage: USAGE });
}
