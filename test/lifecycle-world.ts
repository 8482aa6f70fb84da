/**
 * The real side of the lifecycle model: a database, budgets in six zones, two keys, and a writer
 * that can be killed. Time is the model's: it stands still until a command moves it.
 */
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { changeByInstallation } from "../src/audit/audit-event.ts";
import { createBudget } from "../src/budgets/budget.ts";
import { createPolicy } from "../src/budgets/policy.ts";
import { type RateLimit, type RateWindow, rateWindowAt } from "../src/budgets/rate-window.ts";
import { type BudgetPeriod, type BudgetWindow, windowAt } from "../src/budgets/window.ts";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import type { Clock } from "../src/clock.ts";
import { connect, type Sql } from "../src/database/client.ts";
import { newId } from "../src/id.ts";
import { createApiKey } from "../src/keys/api-key.ts";
import { deriveKeyHmacKey } from "../src/keys/token.ts";
import type { Log } from "../src/log.ts";
import { createMetrics } from "../src/metrics.ts";
import { Spool } from "../src/reservations/spool.ts";
import { Writer } from "../src/reservations/writer.ts";
import { Secret } from "../src/secret.ts";
import { ENCRYPTION_KEY } from "./node.ts";
import type { TcpProxy } from "./tcp-proxy.ts";

const SPOOL_NAME = "settlements.spool";
export const ZONES = [
  "America/New_York",
  "Europe/Berlin",
  "Australia/Lord_Howe",
  "America/Santiago",
  "Asia/Beirut",
  "Asia/Kathmandu",
] as const;

export type BudgetSpec = { period: BudgetPeriod; timeZone: string; limitNanoUsd: bigint };
export type RateSpec = Pick<RateLimit, "unit" | "limit" | "period">;
export type WorldBudget = { id: string; period: BudgetPeriod; timeZone: string };

/** What all runs share. `proxy` stands in front of the database for the writer only. */
export type Ground = { sql: Sql; proxy: TcpProxy; company: DemoCompany };

/** A writer whose process can be killed: from then on nothing of it reaches the database. */
type Killable = { writer: Writer; spool: Spool; directory: string; kill(): void };

export class World {
  readonly ground: Ground;
  readonly budgets: readonly WorldBudget[];
  readonly rateLimits: readonly RateLimit[];
  readonly nodeId: string;
  nowMs: number;
  readonly clock: Clock = {
    now: () => new Date(this.nowMs),
    monotonicMs: () => performance.now(),
  };
  #node: Killable | null = null;

  private constructor(
    ground: Ground,
    limits: { budgets: readonly WorldBudget[]; rateLimits: readonly RateLimit[] },
    nowMs: number,
  ) {
    this.ground = ground;
    this.budgets = limits.budgets;
    this.rateLimits = limits.rateLimits;
    this.nowMs = nowMs;
    this.nodeId = newId("node", new Date(nowMs));
  }

  static async open(
    ground: Ground,
    specs: { budgets: readonly BudgetSpec[]; rates: readonly RateSpec[] },
    nowMs: number,
  ): Promise<World> {
    const budgets: WorldBudget[] = [];
    for (const spec of specs.budgets) budgets.push(await addBudget(ground, spec));
    const rateLimits: RateLimit[] = [];
    for (const spec of specs.rates) rateLimits.push(await addRateLimit(ground, spec));
    const world = new World(ground, { budgets, rateLimits }, nowMs);
    await world.#start(await newDirectory());
    return world;
  }

  get writer(): Writer {
    if (this.#node === null) throw new Error("the node is not running");
    return this.#node.writer;
  }

  /** The windows of these budgets at this instant, sorted as the program sorts them. */
  windowsOf(indexes: readonly number[]): BudgetWindow[] {
    const at = new Date(this.nowMs);
    const windows = indexes.flatMap((index) => {
      const budget = this.budgets[index];
      if (budget === undefined) return [];
      const rule = { ...budget, startsAt: null, endsAt: null, createdAt: new Date(0) };
      const window = windowAt(rule, at);
      return window === null ? [] : [window];
    });
    return windows.sort((left, right) => (left.id < right.id ? -1 : 1));
  }

  rateWindowsOf(indexes: readonly number[]): RateWindow[] {
    return indexes.flatMap((index) => {
      const limit = this.rateLimits[index];
      return limit === undefined ? [] : [rateWindowAt(limit, new Date(this.nowMs))];
    });
  }

  /** Kills the node and starts it anew on what it left on its disk. `left` is booked already. */
  async crash(): Promise<void> {
    const node = this.#node;
    if (node === null) throw new Error("the node is not running");
    node.kill();
    const directory = await newDirectory();
    await copyFile(join(node.directory, SPOOL_NAME), join(directory, SPOOL_NAME));
    await this.ground.proxy.restore();
    await retire(node);
    await this.#start(directory);
  }

  async close(): Promise<void> {
    if (this.#node !== null) {
      await this.#node.writer.drain();
      await retire(this.#node);
    }
  }

  async #start(directory: string): Promise<void> {
    const log: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
    const metrics = createMetrics();
    const { spool, left } = await Spool.open(directory, { log, metrics });
    const life = { isOver: false };
    const openSql = () => mortal(openWriterSql(this.ground.proxy.url), life);
    const writer = new Writer({ openSql, spool, clock: this.clock, log, metrics });
    const kill = () => {
      life.isOver = true;
    };
    this.#node = { writer, spool, directory, kill };
    await writer.replay(left);
  }
}

async function addBudget({ sql, company }: Ground, spec: BudgetSpec): Promise<WorldBudget> {
  const { organizationId } = company;
  const budget = {
    organizationId,
    name: "Model",
    scope: { kind: "organization", id: organizationId } as const,
    provider: null,
    model: null,
    tool: null,
    environment: null,
    amountNanoUsd: spec.limitNanoUsd,
    period: spec.period,
    timeZone: spec.timeZone,
    startsAt: null,
    endsAt: null,
  };
  const change = changeByInstallation(new Date());
  const id = await sql.begin((transaction) => createBudget(transaction, budget, change));
  return { id, period: spec.period, timeZone: spec.timeZone };
}

async function addRateLimit({ sql, company }: Ground, spec: RateSpec): Promise<RateLimit> {
  const { organizationId } = company;
  const everything = { provider: null, model: null };
  const policy = {
    organizationId,
    name: "Model",
    kind: "rate_limit" as const,
    scope: { kind: "organization", id: organizationId } as const,
    rate: { ...spec, ...everything, limit: Number(spec.limit) },
  };
  const change = changeByInstallation(new Date());
  const policyId = await sql.begin((transaction) => createPolicy(transaction, policy, change));
  const named = { policyId, policyName: "Model", scope: policy.scope, isShadow: false };
  return { ...spec, ...everything, ...named, createdAt: new Date(0) };
}

/** A key of the company's employee. */
export async function addKey({ sql, company }: Ground): Promise<string> {
  const change = changeByInstallation(new Date());
  const { apiKeyId } = await sql.begin((transaction) =>
    createApiKey(
      transaction,
      {
        organizationId: company.organizationId,
        name: "Model",
        actor: { kind: "employee", id: company.employeeId },
        projectId: null,
        environment: "production",
        allowedProviders: [],
        allowedModels: ["*"],
        allowedTools: [],
        reservationMaxNanoUsd: null,
        expiresAt: null,
        tokenKind: "live",
      },
      { change, hmacKey: deriveKeyHmacKey(new Secret(ENCRYPTION_KEY)), employeeIds: null },
    ),
  );
  return apiKeyId;
}

async function retire(node: Killable): Promise<void> {
  node.kill();
  await node.writer.drain();
  await node.writer.end(0);
  await node.spool.close();
  await rm(node.directory, { recursive: true, force: true });
}

async function newDirectory(): Promise<string> {
  return await mkdtemp(join(tmpdir(), "spendra-model-"));
}

function openWriterSql(url: string): Sql {
  return connect(url, { connectionsMax: 1, applicationName: "model writer" });
}

/** Statements of a dead process fail in a way that is not tried again. */
function mortal(sql: Sql, life: { isOver: boolean }): Sql {
  return new Proxy(sql, {
    apply: (target, self, parameters: unknown[]): unknown =>
      life.isOver
        ? Promise.reject(new Error("the process was killed"))
        : Reflect.apply(target, self, parameters),
  });
}
