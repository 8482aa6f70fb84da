/**
 * JSON lines on standard output: one event a line, with ISO-8601 time, level name, event, ids,
 * amounts with units and durations. What may be logged is written here as a list (an allow-list);
 * keys, prompts and completions are not on it. Provider keys inside error texts are masked.
 */
import pino from "pino";
import { systemClock } from "./clock.ts";

/** The fields of F120 and R122. Nothing else reaches a line. */
export type LogFields = {
  requestId?: string;
  organizationId?: string;
  apiKeyId?: string;
  actorId?: string;
  userId?: string;
  provider?: string;
  model?: string;
  tool?: string;
  /** The route's template, never the path with its parameters. */
  route?: string;
  method?: string;
  status?: number;
  errorCode?: string;
  errorClass?: string;
  policyResult?: string;
  reservationId?: string;
  spendEventId?: string;
  ledgerEntryId?: string;
  usageSource?: string;
  costNanoUsd?: string;
  heldNanoUsd?: string;
  durationMs?: number;
  isStreaming?: boolean;
  job?: string;
  outboxId?: string;
  count?: number;
  nodeId?: string;
  address?: string;
  metricsAddress?: string;
  version?: string;
  /** An error for operators: class, message and stack, with secrets masked. */
  error?: unknown;
};

export type Log = {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
};

type LogDestination = { write(line: string): void };

const ALLOWED_FIELDS: ReadonlySet<string> = new Set([
  "requestId",
  "organizationId",
  "apiKeyId",
  "actorId",
  "userId",
  "provider",
  "model",
  "tool",
  "route",
  "method",
  "status",
  "errorCode",
  "errorClass",
  "policyResult",
  "reservationId",
  "spendEventId",
  "ledgerEntryId",
  "usageSource",
  "costNanoUsd",
  "heldNanoUsd",
  "durationMs",
  "isStreaming",
  "job",
  "outboxId",
  "count",
  "nodeId",
  "address",
  "metricsAddress",
  "version",
] satisfies (keyof LogFields)[]);

const TEXT_CHARACTERS_MAX = 2_000;
/** Masked before it is cut, so that a cut through a secret cannot hide it from its pattern. */
const MASKED_CHARACTERS_MAX = 20_000;
/** An error may name itself as its own cause. */
const CAUSES_MAX = 5;

/** Own keys, OpenAI and Anthropic keys, Google keys, credentials in headers and in addresses. */
const SECRET_PATTERNS: readonly RegExp[] = [
  /spk_(live|test)_[0-9A-Z]+_[A-Za-z0-9_-]+/g,
  /sk-[A-Za-z0-9_-]{8,}/g,
  /AIza[A-Za-z0-9_-]{20,}/g,
  /(?<=(bearer|basic) )[A-Za-z0-9._~+/-]{8,}=*/gi,
  // A password may hold an @ itself, and the user before it may be missing.
  /(?<=:\/\/[^:/@\s]{0,100}:)\S{1,200}(?=@)/g,
];

/** Replaces everything that looks like a credential by `[secret]`. */
export function maskSecrets(text: string): string {
  return SECRET_PATTERNS.reduce((masked, pattern) => masked.replace(pattern, "[secret]"), text);
}

/** Opens the log. `destination` is standard output unless a test listens. */
export function openLog(level: pino.Level, destination?: LogDestination): Log {
  const options: pino.LoggerOptions = {
    level,
    base: null,
    messageKey: "event",
    timestamp: () => `,"time":"${systemClock.now().toISOString()}"`,
    formatters: { level: (label) => ({ level: label }) },
  };
  const logger =
    destination === undefined
      ? pino(options, pino.destination({ dest: 1, sync: true }))
      : pino(options, destination);
  const write =
    (method: "debug" | "info" | "warn" | "error") =>
    (event: string, fields: LogFields = {}): void => {
      logger[method](allowedOnly(fields), event);
    };
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
  };
}

function allowedOnly(fields: LogFields): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (name === "error") {
      kept["error"] = describeError(value);
    } else if (ALLOWED_FIELDS.has(name)) {
      kept[name] = plainValue(value);
    }
  }
  return kept;
}

/** An object would bring along fields that nobody has allowed. */
function plainValue(value: unknown): string | number | boolean | undefined {
  if (typeof value === "string") {
    return shorten(value);
  }
  return typeof value === "number" || typeof value === "boolean" ? value : undefined;
}

function describeError(thrown: unknown, causesMax = CAUSES_MAX): Record<string, unknown> {
  if (!(thrown instanceof Error)) {
    return { class: typeof thrown };
  }
  const code =
    "code" in thrown && typeof thrown.code === "string" ? shorten(thrown.code) : undefined;
  return {
    class: shorten(thrown.name),
    code,
    message: shorten(thrown.message),
    stack: shorten(thrown.stack ?? ""),
    cause:
      thrown.cause instanceof Error && causesMax > 0
        ? describeError(thrown.cause, causesMax - 1)
        : undefined,
  };
}

function shorten(text: string): string {
  return maskSecrets(text.slice(0, MASKED_CHARACTERS_MAX)).slice(0, TEXT_CHARACTERS_MAX);
}
