/**
 * Environment → one frozen `Config`, read once at start. Every setting may come from the variable
 * itself, from a file named by its `_FILE` twin, or from a systemd credential of the same name in
 * lower case. All mistakes are reported together, each with the way to mend it; values of secrets
 * are never part of a message. Names are documented in docs/reference/configuration.md.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import packageManifest from "../package.json" with { type: "json" };
import { Secret } from "./secret.ts";

/** What was built: replaced by text when the executable is compiled. */
export const build = {
  version: process.env["SPENDRA_BUILD_VERSION"] ?? packageManifest.version,
  commit: process.env["SPENDRA_BUILD_COMMIT"] ?? "source",
} as const;

/** Where a listener binds. */
export type ListenAddress = { readonly host: string; readonly port: number };

export type Config = {
  readonly databaseUrl: Secret;
  /** The same database without the pooler in between, where one is. */
  readonly databaseDirectUrl: Secret | null;
  readonly listen: ListenAddress;
  readonly metricsListen: ListenAddress;
  readonly metricsBearerToken: Secret;
  /** Root of every derived key: HMAC of API keys, later encryption of stored secrets. */
  readonly encryptionKey: Secret;
  readonly publicUrl: string;
  readonly allowedOrigins: readonly string[];
  /** Whose bearer tokens the management API accepts, or null. */
  readonly supabase: { readonly url: string; readonly jwtSecret: Secret | null } | null;
  /** Of one session or token, on each node. */
  readonly managementRequestsPerMinute: number;
  readonly stateDirectory: string;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  /** How long running answers may go on after SIGTERM. */
  readonly drainTimeoutMs: number;
  /** How far a stream is read on when its caller has gone; no time at all: it is cut at once. */
  readonly disconnectDrain: { readonly timeoutMs: number; readonly tokensMax: number };
  /** Secrets that a provider account may refer to by name. */
  readonly providerSecrets: ReadonlyMap<string, Secret>;
};

export type Environment = Readonly<Record<string, string | undefined>>;

/** All mistakes of a configuration at once. `mistakes` are lines for a person, without secrets. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
  readonly mistakes: readonly string[];

  constructor(mistakes: readonly string[]) {
    super(`the configuration has ${mistakes.length} mistake(s):\n  ${mistakes.join("\n  ")}`);
    this.mistakes = mistakes;
  }
}

const SECRET_BYTES_MIN = 32;
const SECRET_FILE_BYTES_MAX = 64 * 1024;
const REQUESTS_PER_MINUTE_MAX = 1_000_000;
const DRAIN_SECONDS_MAX = 3600;
const DISCONNECT_DRAIN_SECONDS_MAX = 600;
const DRAIN_TOKENS_CEILING = 1_000_000;
const WELL_KNOWN_SECRETS = ["changeme", "change-me", "secret", "password", "dev-admin-secret"];

const listenAddress = z.string().transform((text, context): ListenAddress => {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:]+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2] ?? Number.NaN);
  if (match?.[1] === undefined || !(port <= 65_535)) {
    context.addIssue("must be host:port, for example 127.0.0.1:8080");
    return z.NEVER;
  }
  return { host: match[1].replace(/^\[|\]$/g, ""), port };
});

const httpUrl = z
  .url({ protocol: /^https?$/, error: "must be an http or https address" })
  .transform((text) => text.replace(/\/$/, ""));

const strongSecret = z
  .string()
  .refine((text) => !WELL_KNOWN_SECRETS.includes(text.toLowerCase()), "is a well-known example")
  .refine(
    (text) => Buffer.byteLength(text) >= SECRET_BYTES_MIN,
    `must be at least ${SECRET_BYTES_MIN} bytes: make one with \`openssl rand -hex 32\``,
  )
  .transform((text) => new Secret(text));

const databaseUrl = z
  .string({ error: "is missing: set it to postgres://user:password@host:5432/database" })
  .regex(/^postgres(ql)?:\/\/.+/, "must look like postgres://user:password@host:5432/database")
  .transform((text) => new Secret(text));

function wholeNumber(unit: string, max: number) {
  return z
    .string()
    .regex(/^\d{1,9}$/, `must be a whole number of ${unit}`)
    .transform(Number)
    .pipe(z.number().max(max, `must be at most ${max}`));
}

const missingSecret = { error: "is missing: make one with `openssl rand -hex 32`" };

const schema = z.object({
  DATABASE_URL: databaseUrl,
  DATABASE_DIRECT_URL: databaseUrl.optional(),
  SPENDRA_LISTEN: listenAddress.prefault("0.0.0.0:8080"),
  SPENDRA_METRICS_LISTEN: listenAddress.prefault("127.0.0.1:9464"),
  SPENDRA_METRICS_BEARER_TOKEN: z.string(missingSecret).pipe(strongSecret),
  SPENDRA_ENCRYPTION_KEY: z.string(missingSecret).pipe(strongSecret),
  SPENDRA_PUBLIC_URL: httpUrl.optional(),
  SPENDRA_ALLOWED_ORIGINS: z
    .string()
    .prefault("")
    .transform((text) => text.split(",").map((origin) => origin.trim()))
    .transform((origins) => origins.filter((origin) => origin !== ""))
    .pipe(z.array(httpUrl)),
  SPENDRA_MANAGEMENT_REQUESTS_PER_MINUTE: wholeNumber("requests", REQUESTS_PER_MINUTE_MAX)
    .pipe(z.number().min(1, "must be at least 1"))
    .prefault("100"),
  SUPABASE_URL: httpUrl.optional(),
  SUPABASE_JWT_SECRET: strongSecret.optional(),
  SPENDRA_STATE_DIR: z.string().min(1).prefault("/var/lib/spendra"),
  SPENDRA_LOG_LEVEL: z.enum(["debug", "info", "warn", "error"]).prefault("info"),
  SPENDRA_DRAIN_SECONDS: wholeNumber("seconds", DRAIN_SECONDS_MAX).prefault("300"),
  SPENDRA_ON_DISCONNECT: z.enum(["drain", "abort"]).prefault("drain"),
  SPENDRA_DISCONNECT_DRAIN_SECONDS: wholeNumber("seconds", DISCONNECT_DRAIN_SECONDS_MAX).prefault(
    "60",
  ),
  // As an organization's default limit of a completion: most answers are read to their end.
  SPENDRA_DISCONNECT_DRAIN_TOKENS: wholeNumber("tokens", DRAIN_TOKENS_CEILING).prefault("4096"),
  OPENAI_API_KEY: z.string().min(1).optional(),
});

/** Without the address nobody could tell whose tokens the secret signs. */
const checked = schema.refine(
  (values) => values.SUPABASE_JWT_SECRET === undefined || values.SUPABASE_URL !== undefined,
  { path: ["SUPABASE_URL"], error: "is missing: SUPABASE_JWT_SECRET needs it for the issuer" },
);

/** Every name that Spendra reads, for the documentation and its test. */
export const configurationNames: readonly string[] = Object.keys(schema.shape);

/** The names that hold provider secrets; a provider account refers to one of them. */
export const providerSecretNames: readonly string[] = ["OPENAI_API_KEY"];

/** Reads and validates everything. Throws `ConfigurationError` with all mistakes. */
export function readConfig(environment: Environment = process.env): Config {
  const mistakes: string[] = [];
  const values = collectValues(environment, mistakes);
  mistakes.push(...unknownNames(environment));
  const parsed = checked.safeParse(values);
  if (!parsed.success) {
    // What could not be read is not missing as well.
    const issues = parsed.error.issues.filter(({ path }) => !isAbout(mistakes, String(path[0])));
    mistakes.push(...issues.map(({ path, message }) => `${path.join(".")} ${message}`));
  }
  if (mistakes.length > 0 || !parsed.success) {
    throw new ConfigurationError(mistakes);
  }
  return toConfig(parsed.data);
}

/**
 * Only the database's address, the direct one where it is set, for commands that need no more.
 * Throws `ConfigurationError`.
 */
export function readDatabaseUrl(environment: Environment = process.env): Secret {
  const mistakes: string[] = [];
  const values = collectValues(environment, mistakes);
  const directName = "DATABASE_DIRECT_URL";
  const isDirectSet = directName in values || isAbout(mistakes, directName);
  const name = isDirectSet ? directName : "DATABASE_URL";
  const parsed = databaseUrl.safeParse(values[name]);
  const own = mistakes.filter((mistake) => isAbout([mistake], name));
  if (own.length === 0 && !parsed.success) {
    own.push(...parsed.error.issues.map((issue) => `${name} ${issue.message}`));
  }
  if (own.length > 0 || !parsed.success) {
    throw new ConfigurationError(own);
  }
  return parsed.data;
}

function isAbout(mistakes: readonly string[], name: string): boolean {
  return mistakes.some((mistake) => [name, `${name}_FILE`].includes(mistake.split(" ")[0] ?? ""));
}

function toConfig(values: z.infer<typeof schema>): Config {
  const { host, port } = values.SPENDRA_LISTEN;
  const boundHost = host.includes(":") ? `[${host}]` : host;
  const reachableHost = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : boundHost;
  const providerSecrets = new Map<string, Secret>();
  if (values.OPENAI_API_KEY !== undefined) {
    providerSecrets.set("OPENAI_API_KEY", new Secret(values.OPENAI_API_KEY));
  }
  const isAborted = values.SPENDRA_ON_DISCONNECT === "abort";
  return Object.freeze({
    databaseUrl: values.DATABASE_URL,
    databaseDirectUrl: values.DATABASE_DIRECT_URL ?? null,
    listen: values.SPENDRA_LISTEN,
    metricsListen: values.SPENDRA_METRICS_LISTEN,
    metricsBearerToken: values.SPENDRA_METRICS_BEARER_TOKEN,
    encryptionKey: values.SPENDRA_ENCRYPTION_KEY,
    publicUrl: values.SPENDRA_PUBLIC_URL ?? `http://${reachableHost}:${port}`,
    allowedOrigins: values.SPENDRA_ALLOWED_ORIGINS,
    supabase:
      values.SUPABASE_URL === undefined
        ? null
        : { url: values.SUPABASE_URL, jwtSecret: values.SUPABASE_JWT_SECRET ?? null },
    managementRequestsPerMinute: values.SPENDRA_MANAGEMENT_REQUESTS_PER_MINUTE,
    stateDirectory: values.SPENDRA_STATE_DIR,
    logLevel: values.SPENDRA_LOG_LEVEL,
    drainTimeoutMs: values.SPENDRA_DRAIN_SECONDS * 1000,
    disconnectDrain: {
      timeoutMs: isAborted ? 0 : values.SPENDRA_DISCONNECT_DRAIN_SECONDS * 1000,
      tokensMax: values.SPENDRA_DISCONNECT_DRAIN_TOKENS,
    },
    providerSecrets,
  });
}

function collectValues(environment: Environment, mistakes: string[]): Record<string, string> {
  const values: Record<string, string> = {};
  for (const name of configurationNames) {
    const direct = environment[name];
    const filePath = environment[`${name}_FILE`];
    if (isSet(direct) && isSet(filePath)) {
      mistakes.push(`${name} is set twice, directly and by ${name}_FILE: remove one of them`);
      continue;
    }
    const value = isSet(direct)
      ? direct
      : isSet(filePath)
        ? readSecretFile(`${name}_FILE`, filePath, mistakes)
        : readCredential(name, environment, mistakes);
    if (isSet(value)) {
      values[name] = value;
    }
  }
  return values;
}

function readSecretFile(name: string, path: string, mistakes: string[]): string | undefined {
  try {
    return readShortFile(path);
  } catch (error) {
    // Not the system's message: it quotes the path, and by mistake the path may be the secret.
    mistakes.push(`${name} names a file that cannot be read: ${systemCodeOf(error)}`);
    return undefined;
  }
}

/** systemd puts credentials into a directory; the file is the setting's name in lower case. */
function readCredential(
  name: string,
  environment: Environment,
  mistakes: string[],
): string | undefined {
  const directory = environment["CREDENTIALS_DIRECTORY"];
  if (!isSet(directory)) {
    return undefined;
  }
  try {
    return readShortFile(join(directory, name.toLowerCase()));
  } catch (error) {
    // Not every setting has a credential; a required one that is absent is reported as missing.
    if (systemCodeOf(error) !== "ENOENT") {
      mistakes.push(`${name} has a credential that cannot be read: ${systemCodeOf(error)}`);
    }
    return undefined;
  }
}

function systemCodeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}

function readShortFile(path: string): string {
  return readFileSync(path, "utf8").slice(0, SECRET_FILE_BYTES_MAX).trim();
}

/** A misspelt name would silently leave the default in force. */
function unknownNames(environment: Environment): string[] {
  const known = new Set(configurationNames.flatMap((name) => [name, `${name}_FILE`]));
  return Object.keys(environment)
    .filter((name) => name.startsWith("SPENDRA_") && !known.has(name))
    .filter((name) => !name.startsWith("SPENDRA_BUILD_") && !name.startsWith("SPENDRA_TEST_"))
    .map((name) => `${name} is not a setting: known are ${configurationNames.join(", ")}`);
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== "";
}
