/** What makes a node ready (R3): each check is broken by one thing only, and named in answers. */
import type { Sql } from "../database/client.ts";
import { requireCurrentSchema } from "../database/schema-check.ts";
import type { Secret } from "../secret.ts";
import { checkCanary } from "./encryption-canary.ts";
import type { ReadinessCheck } from "./readiness.ts";
import { checkStateDirectory } from "./state-directory.ts";

type CheckedParts = {
  readonly sql: Sql;
  readonly encryptionKey: Secret;
  readonly stateDirectory: string;
  readonly hasPrices: () => boolean;
  readonly isAccepting: () => boolean;
};

const CHECK_TIMEOUT_MS = 250;
const SCHEMA_CHECK_TIMEOUT_MS = 750;

export function nodeChecks(parts: CheckedParts): readonly ReadinessCheck[] {
  const { sql, encryptionKey, stateDirectory, hasPrices, isAccepting } = parts;
  const isReachable = async () => {
    await sql`select 1`;
  };
  return [
    check("database", CHECK_TIMEOUT_MS, isReachable),
    check("schema", SCHEMA_CHECK_TIMEOUT_MS, () => requireCurrentSchema(sql), "database"),
    check("encryption_key", CHECK_TIMEOUT_MS, () => checkCanary(sql, encryptionKey), "database"),
    check("price_book", CHECK_TIMEOUT_MS, () => requireThat(hasPrices())),
    check("state_directory", CHECK_TIMEOUT_MS, () => checkStateDirectory(stateDirectory)),
    check("accepting", CHECK_TIMEOUT_MS, () => requireThat(isAccepting())),
  ];
}

function check(
  name: string,
  timeoutMs: number,
  run: () => Promise<void>,
  needs?: string,
): ReadinessCheck {
  return needs === undefined ? { name, timeoutMs, run } : { name, timeoutMs, run, needs };
}

function requireThat(holds: boolean): Promise<void> {
  return holds ? Promise.resolve() : Promise.reject(new Error("the condition does not hold"));
}
