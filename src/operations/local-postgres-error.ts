/** Why a private PostgreSQL did not start, in words that say what to do about it. */

const LOG_LINES_MAX = 12;

const mendings: readonly { sign: RegExp; mending: string }[] = [
  {
    sign: /shared librar|Library not loaded|cannot open shared object/i,
    mending: "Install the system package that holds the missing library",
  },
  { sign: /No space left on device|ENOSPC/i, mending: "Free disk space there" },
  {
    sign: /could not (create|open|resize|map).*shared memory|\/dev\/shm/i,
    mending: "Give this container or machine a writable /dev/shm of at least 64 MB",
  },
  {
    sign: /invalid locale|locale .* (not|could)/i,
    mending: "Install the missing locale (on Debian: apt-get install locales)",
  },
  {
    sign: /lock file "postmaster\.pid" already exists/i,
    mending: "Stop the other program that uses this data directory",
  },
  {
    sign: /database files are incompatible|initialized by PostgreSQL version/i,
    mending: "Use the PostgreSQL major that made this data directory, or another directory",
  },
  {
    sign: /Operation not permitted|EPERM|EINVAL|cannot be run as root/i,
    mending: "This root account may not run programs as another one: run as an ordinary user",
  },
  {
    sign: /Permission denied|EACCES/i,
    mending: "Give the account that runs PostgreSQL access to that path",
  },
];

/** PostgreSQL could not be initialised, started or stopped. */
export class LocalPostgresError extends Error {
  override readonly name = "LocalPostgresError";

  /** `log` is the output of the program that failed; its tail becomes part of the message. */
  constructor(what: string, log = "") {
    const tail = log
      .split("\n")
      .filter((line) => line.trim() !== "")
      .slice(-LOG_LINES_MAX)
      .map((line) => `\n  ${line}`)
      .join("");
    const known = mendings.find(({ sign }) => sign.test(log));
    const mending = known ? `${known.mending}, or set` : "Set";
    super(`${what}.${tail}\n${mending} DATABASE_URL to use a PostgreSQL of your own.`);
  }
}
