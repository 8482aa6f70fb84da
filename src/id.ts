/**
 * Ids that carry their kind and sort by the time they were made: `rsv_01J…`, a prefix and a ULID
 * (https://github.com/ulid/spec): 48 bits of milliseconds, 80 random bits, Crockford base 32.
 */

const ID_PREFIXES = {
  organization: "org",
  branch: "brn",
  team: "tea",
  project: "prj",
  employee: "emp",
  agent: "agt",
  user: "usr",
  membership: "mem",
  roleAssignment: "rol",
  apiKey: "key",
  providerAccount: "pac",
  budget: "bud",
  policy: "pol",
  request: "req",
  reservation: "rsv",
  spendEvent: "spe",
  ledgerEntry: "ent",
  auditEvent: "aud",
  node: "nod",
  alert: "alt",
  budgetIncrease: "inc",
  review: "rev",
  invitation: "inv",
  serviceToken: "svt",
  block: "blk",
} as const;

export type IdKind = keyof typeof ID_PREFIXES;

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TIME_CHARACTERS = 10;
const CHARACTERS = ALPHABET.split("");
/** Two characters, ten random bits, by their number. */
const PAIRS = CHARACTERS.flatMap((first) => CHARACTERS.map((second) => first + second));
const RANDOM_PAIRS = 8;

/** Random numbers are fetched in bulk: one call to the system for 1,024 ids instead of one each. */
const pool = new Uint16Array(RANDOM_PAIRS * 1024);
let poolOffset = pool.length;

/** Ids are made many in a millisecond, and begin alike. */
let newestTime = { timeMs: Number.NaN, text: "" };

/** Makes a new id, e.g. `newId("reservation", clock.now())` → `rsv_01KAJ3…`. */
export function newId(kind: IdKind, madeAt: Date): string {
  return `${ID_PREFIXES[kind]}_${newUlid(madeAt.getTime())}`;
}

/** The 26 characters behind the prefix; also what an API key shows of its id. */
export function idSuffix(id: string): string {
  return id.slice(id.indexOf("_") + 1);
}

export function idFromSuffix(kind: IdKind, suffix: string): string {
  return `${ID_PREFIXES[kind]}_${suffix}`;
}

/** Whether a text has the form of an id of this kind. */
export function isId(kind: IdKind, text: string): boolean {
  return text.startsWith(`${ID_PREFIXES[kind]}_`) && ULID.test(idSuffix(text));
}

/** Sorts before every id that is made at this instant or later, and after the earlier ones. */
export function earliestId(kind: IdKind, at: Date): string {
  return `${ID_PREFIXES[kind]}_${timeText(at.getTime())}`;
}

/** When the id was made, to the millisecond. */
export function timeOfId(id: string): Date {
  let timeMs = 0;
  for (const character of idSuffix(id).slice(0, TIME_CHARACTERS)) {
    timeMs = timeMs * 32 + ALPHABET.indexOf(character);
  }
  return new Date(timeMs);
}

const ULID = /^[0-9A-HJKMNP-TV-Z]{26}$/;

function newUlid(timeMs: number): string {
  if (newestTime.timeMs !== timeMs) {
    newestTime = { timeMs, text: timeText(timeMs) };
  }
  if (poolOffset === pool.length) {
    crypto.getRandomValues(pool);
    poolOffset = 0;
  }
  let ulid = newestTime.text;
  const end = poolOffset + RANDOM_PAIRS;
  while (poolOffset < end) {
    ulid += PAIRS[(pool[poolOffset++] ?? 0) % PAIRS.length];
  }
  return ulid;
}

function timeText(timeMs: number): string {
  let text = "";
  let rest = timeMs;
  for (let index = 0; index < TIME_CHARACTERS; index++) {
    text = ALPHABET.charAt(rest % 32) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}
