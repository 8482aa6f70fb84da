/**
 * What the environment says to the demo. PORT and OPENAI_BASE_URL are names of the demo alone, no
 * settings of the product; everything else goes through `config.ts`, which validates it.
 */
import { env } from "node:process";
import {
  type Config,
  ConfigurationError,
  type Environment,
  readConfig,
  readDatabaseUrl,
} from "../config.ts";
import { newSecret } from "../keys/token.ts";
import type { Secret } from "../secret.ts";

export type DemoSettings = {
  /** 0: a free one. */
  readonly port: number;
  /** Null: bring up a PostgreSQL. */
  readonly databaseUrl: Secret | null;
  /** Where OpenAI itself is called, when its key is set; null: the simulator plays it. */
  readonly openAiBaseUrl: string | null;
  /** Whether SPENDRA_ENCRYPTION_KEY is given. */
  readonly hasEncryptionKey: boolean;
  readonly environment: Environment;
};

const PORT_DEFAULT = "8080";
const PORT_MAX = 65_535;
const OPENAI_BASE_URL = "https://api.openai.com/v1";
/** Running answers may go on for so long after Ctrl-C. */
const DRAIN_SECONDS = "5";

/** Throws `ConfigurationError` with all mistakes. */
export function readDemoSettings(environment: Environment = env): DemoSettings {
  const mistakes: string[] = [];
  const isSet = (name: string): boolean =>
    [environment[name], environment[`${name}_FILE`]].some((value) => (value ?? "") !== "");
  const portText = environment["PORT"] || PORT_DEFAULT;
  const port = Number(portText);
  if (!/^\d{1,5}$/.test(portText) || port > PORT_MAX) {
    mistakes.push(`PORT must be a whole number up to ${PORT_MAX}; 0 takes a free one`);
  }
  const baseUrl = environment["OPENAI_BASE_URL"] || OPENAI_BASE_URL;
  if (!/^https?:\/\/[^/]/.test(baseUrl)) {
    mistakes.push(`OPENAI_BASE_URL must be an http or https address, such as ${OPENAI_BASE_URL}`);
  }
  const databaseUrl = isSet("DATABASE_URL") ? readGivenDatabase(environment, mistakes) : null;
  if (mistakes.length > 0) {
    throw new ConfigurationError(mistakes);
  }
  return {
    port,
    databaseUrl,
    openAiBaseUrl: isSet("OPENAI_API_KEY") ? baseUrl : null,
    hasEncryptionKey: isSet("SPENDRA_ENCRYPTION_KEY"),
    environment,
  };
}

function readGivenDatabase(environment: Environment, mistakes: string[]): Secret | null {
  try {
    return readDatabaseUrl(environment);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) {
      throw error;
    }
    mistakes.push(...error.mistakes);
    return null;
  }
}

/** What the demo decides for the node that it runs. */
export type DemoNode = {
  readonly databaseUrl: string;
  readonly port: number;
  readonly stateDirectory: string;
  /** Absent: the environment has one. */
  readonly encryptionKey?: string;
  /** The simulator's credential. Absent: the environment has OpenAI's. */
  readonly openAiApiKey?: string;
  readonly isVerbose: boolean;
};

/** The configuration of the demo's node, validated like any other. Throws `ConfigurationError`. */
export function readDemoConfig({ environment }: DemoSettings, node: DemoNode): Config {
  const given = (name: string, value: string | undefined): Environment =>
    value === undefined
      ? { [name]: environment[name], [`${name}_FILE`]: environment[`${name}_FILE`] }
      : { [name]: value };
  return readConfig({
    ...given("SPENDRA_ENCRYPTION_KEY", node.encryptionKey),
    ...given("OPENAI_API_KEY", node.openAiApiKey),
    DATABASE_URL: node.databaseUrl,
    SPENDRA_LISTEN: `127.0.0.1:${node.port}`,
    SPENDRA_METRICS_LISTEN: "127.0.0.1:0",
    SPENDRA_METRICS_BEARER_TOKEN: newSecret(),
    SPENDRA_STATE_DIR: node.stateDirectory,
    SPENDRA_LOG_LEVEL: node.isVerbose ? "info" : "warn",
    SPENDRA_DRAIN_SECONDS: DRAIN_SECONDS,
  });
}
