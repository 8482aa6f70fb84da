/**
 * JSON lines on standard output: one event a line, with ISO-8601 time, level name, event, ids,
 * amounts with units and durations. What may be logged is written here as a list (an allow-list);
 * keys, prompts and completions are not on it. Provider keys inside error texts are masked.
 *
 * Lines of debug and info may wait for the end of the turn of the event loop, so that what happened
 * together costs one write; warnings and errors, and all that waits before them, are written at
 * once. An exit writes what is left; only `kill -9` can lose the info lines of one turn.
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
  alertId?: string;
  alertKind?: string;
  severity?: string;
  subject?: string;
  address?: string;
  metricsAddress?: string;
  version?: string;
  /** An error for operators: class, message and stack, with secrets masked. */
  error?: unknown;
};

export type LogLevel = "debug" | "info" | "warn" | "error";

export type Log = {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
};

/** `flush` writes at once what `write` has kept. */
type LogDestination = { write(line: string): void; flush?(): void };

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

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
  "alertId",
  "alertKind",
  "severity",
  "subject",
  "address",
  "metricsAddress",
  "version",
] satisfies (keyof LogFields)[]);

const TEXT_CHARACTERS_MAX = 2_000;
/** What waits for the end of a turn; a turn with more is written in parts. */
const WAITING_CHARACTERS_MAX = 64 * 1024;
/** Masked before it is cut, so that a cut through a secret cannot hide it from its pattern. */
const MASKED_CHARACTERS_MAX = 20_000;
/** An error may name itself as its own cause. */
const CAUSES_MAX = 5;

/** Own keys and tokens, keys of providers, credentials in headers and in addresses. */
const SECRET_PATTERNS: readonly RegExp[] = [
  /spk_(live|test)_[0-9A-Z]+_[A-Za-z0-9_-]+/g,
  /sp[it]_[0-9A-Z]+_[A-Za-z0-9_-]+/g,
  /sk-[A-Za-z0-9_-]{8,}/g,
  /AIza[A-Za-z0-9_-]{20,}/g,
  /(?<=(bearer|basic) )[A-Za-z0-9._~+/-]{8,}=*/gi,
  // A password may hold an @ itself, and the user before it may be missing.
  /(?<=:\/\/[^:/@\s]{0,100}:)\S{1,200}(?=@)/g,
];

/** What each of the patterns needs to be in a text: ids and names have none of it. */
const SECRET_MARKS = /sp[kit]_|sk-|AIza|bearer |basic |:\/\//i;

/** Replaces everything that looks like a credential by `[secret]`. */
export function maskSecrets(text: string): string {
  if (!SECRET_MARKS.test(text)) {
    return text;
  }
  return SECRET_PATTERNS.reduce((masked, pattern) => masked.replace(pattern, "[secret]"), text);
}

/** Opens the log. `destination` is standard output unless a test listens. */
export function openLog(
  levelMin: LogLevel,
  destination: LogDestination = openStandardOutput(),
): Log {
  const writeAt =
    (level: LogLevel) =>
    (event: string, fields: LogFields = {}): void => {
      const time = systemClock.now().toISOString();
      const line = JSON.stringify({ level, time, ...allowedOnly(fields), event });
      destination.write(`${line}\n`);
      if (level === "warn" || level === "error") {
        destination.flush?.();
      }
    };
  const silent = (): void => {};
  const isSilent = (level: LogLevel) => LEVELS.indexOf(level) < LEVELS.indexOf(levelMin);
  const at = (level: LogLevel) => (isSilent(level) ? silent : writeAt(level));
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/**
 * Standard output that writes the lines of a turn at once, and what is left when we exit. Pino
 * knows how to wait for a full pipe and what to do when nobody reads it any more.
 */
function openStandardOutput(): LogDestination {
  const output = pino.destination({ dest: 1, sync: true });
  let waiting = "";
  const flush = (): void => {
    if (waiting !== "") {
      const lines = waiting;
      waiting = "";
      output.write(lines);
    }
  };
  process.on("exit", flush);
  return {
    write: (line) => {
      if (waiting === "") {
        setImmediate(flush);
      }
      waiting += line;
      if (waiting.length > WAITING_CHARACTERS_MAX) {
        flush();
      }
    },
    flush,
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
