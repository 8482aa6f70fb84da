/** Why a database does not answer, in words that say what to do; and its name, without secrets. */
import { errorCodeOf, isTransient } from "../database/sqlstate.ts";
import { maskSecrets } from "../log.ts";

/**
 * `host:port/database` of an address: no user, no password, no parameters. By pattern and not by
 * `URL`, because PostgreSQL's addresses may name several hosts. Never throws.
 */
export function nameDatabase(databaseUrl: string): string {
  return databaseUrl.replace(/^[^:]*:\/\/(.*@)?/, "").replace(/\?.*$/, "");
}

const PROBLEM_CHARACTERS_MAX = 300;

const mendings: Readonly<Record<string, string>> = {
  ECONNREFUSED: "Nothing listens there: start PostgreSQL, or correct host and port.",
  ENOTFOUND: "No such host: correct the host's name, or the resolver.",
  EAI_AGAIN: "The host's name could not be looked up: look at the resolver.",
  CONNECT_TIMEOUT: "No answer: look at the firewall and the network in between.",
  EHOSTUNREACH: "No way to that host: look at the network in between.",
  ENETUNREACH: "No way to that network: look at the network in between.",
  "28P01": "User or password is wrong: correct them.",
  "28000": "The server lets nobody in from here like that: look at its pg_hba.conf.",
  "3D000": "Create the database (createdb), or correct its name.",
  "42501": "Give the user the right to do this (grant).",
  "53300": "All connections are taken: raise max_connections, or use a pooler.",
  "57P03": "The server is starting up or going down: try again in a moment.",
};

/** What is wrong and how to mend it; null when the error is not one of the database's. */
export function explainDatabaseError(error: unknown): { problem: string; mending: string } | null {
  const code = errorCodeOf(error);
  const mending = code === null ? undefined : mendings[code];
  if (!(error instanceof Error) || (mending === undefined && !isTransient(error))) {
    return null;
  }
  const problem = `${maskSecrets(error.message).slice(0, PROBLEM_CHARACTERS_MAX)} (${code})`;
  return { problem, mending: mending ?? "Look at the server and at the network in between." };
}
