/** What can happen to reservations, as commands that fast-check puts together and shrinks. */
import fc from "fast-check";
import { newId } from "../src/id.ts";
import { expireDue, expireOrphans } from "../src/reservations/expire.ts";
import { HOLD_MS } from "../src/reservations/open-reservations.ts";
import type { NewReservation, Closing as WriterClosing } from "../src/reservations/reservation.ts";
import { emptyBuckets } from "../src/usage/buckets.ts";
import { type Book, type BookReservation, MOST_TOKENS, USED_TOKENS } from "./lifecycle-book.ts";
import { checkBooks } from "./lifecycle-check.ts";
import type { World } from "./lifecycle-world.ts";

type Command = fc.AsyncCommand<Book, World>;
type CloseHow = "less" | "equal" | "more" | "zero" | "release" | "expire";
type CloseSpec = { pick: number; how: CloseHow };
type ReserveSpec = {
  amount: bigint;
  budgets: number[];
  /** Of these, the ones that do not bind, unless they are all there are. */
  soft: number[];
  rates: number[];
  key: number;
  keyHash: number | null;
  isStale: boolean;
};

/** Everything of one tick: the writer takes it as one batch, closings first. */
function batch(closings: CloseSpec[], reservations: ReserveSpec[]): Command {
  return {
    check: () => true,
    toString: () => `batch(${show(closings)}, ${show(reservations)})`,
    run: async (book, world) => {
      const epoch = await governanceEpoch(world);
      const asked = await Promise.all(
        reservations.map((spec) => toReservation(spec, book, world, epoch)),
      );
      const picked = pickAll(closings, book, world);
      const closed = picked.map(({ closing }) => world.writer.close(closing, null));
      const decided = asked.map((reservation) => world.writer.reserve(reservation));
      for (const [index, { id, as, cost }] of picked.entries()) {
        const wasOpen = book.close(id, as, cost);
        same(await closed[index], wasOpen, `closing ${id} as ${as}`);
      }
      for (const reservation of asked) book.open(reservation, world.rateLimits);
      for (const [index, reservation] of asked.entries()) {
        const isStale = reservations[index]?.isStale ?? false;
        const outcome = book.reserve(toBook(reservation, world), isStale);
        same((await decided[index])?.status, outcome, `reserving ${reservation.id}`);
      }
      await checkBooks(book, world);
    },
  };
}

/** The sweeper twice at once, as on two nodes, beside calls that end in the same moment. */
function sweep(closings: CloseSpec[]): Command {
  return {
    check: () => true,
    toString: () => `sweep(${show(closings)})`,
    run: async (book, world) => {
      const picked = pickAll(closings, book, world);
      const closed = picked.map(({ closing }) => world.writer.close(closing, null));
      const { sql } = world.ground;
      const swept = [1, 2].map(() => expireDue(sql, world.writer, world.clock));
      for (const { id, as, cost } of picked) book.close(id, as, cost);
      book.sweep(world.nowMs);
      await Promise.all([...closed, ...swept]);
      await checkBooks(book, world);
    },
  };
}

function extend(): Command {
  return {
    check: () => true,
    toString: () => "extend()",
    run: async (book, world) => {
      await world.writer.beat(world.ground.sql);
      book.extend(world.nowMs);
      await checkBooks(book, world);
    },
  };
}

function moveClock(byMs: number): Command {
  return {
    check: () => true,
    toString: () => `moveClock(${byMs})`,
    run: async (_, world) => {
      world.nowMs += byMs;
    },
  };
}

function changeCap(budget: number, limitNanoUsd: bigint): Command {
  return {
    check: (book) => book.reservations.length > 0,
    toString: () => `changeCap(${budget}, ${limitNanoUsd}n)`,
    run: async (book, world) => {
      const id = world.budgets[budget]?.id ?? "";
      await world.ground.sql`
        update budgets set amount_nano_usd = ${limitNanoUsd} where id = ${id}
      `;
      book.changeLimit(id, limitNanoUsd);
      await checkBooks(book, world);
    },
  };
}

function changeKey(index: number, change: "revoke" | "switch"): Command {
  return {
    check: (book) => book.reservations.length > 1,
    toString: () => `changeKey(${index}, ${change})`,
    run: async (book, { ground: { sql } }) => {
      const key = book.keys[index];
      if (key === undefined) return;
      if (change === "revoke") {
        key.isRevoked = true;
        await sql`update api_keys set revoked_at = now() where id = ${key.id}`;
      } else {
        key.isActive = !key.isActive;
        await sql`update api_keys set is_active = ${key.isActive} where id = ${key.id}`;
      }
    },
  };
}

/** kill -9 and a new start on the same disk; `spooled` ended while PostgreSQL was away. */
function crash(spooled: CloseSpec[] | null, adopts: boolean): Command {
  return {
    check: () => true,
    toString: () => `crash(${show(spooled)}, ${adopts})`,
    run: async (book, world) => {
      if (spooled !== null) {
        await world.ground.proxy.cut();
        const picked = pickAll(spooled, book, world);
        await Promise.all(picked.map(({ closing }) => world.writer.close(closing, null)));
        for (const { id, as, cost } of picked) book.close(id, as, cost);
      }
      await world.crash();
      book.crash();
      if (adopts) {
        const node = { id: world.nodeId, startedAt: world.clock.now() };
        await expireOrphans(world.ground.sql, world.writer, world.clock, node);
        book.adopt(world.nowMs);
      }
      await checkBooks(book, world);
    },
  };
}

export function allCommands(): fc.Arbitrary<Command>[] {
  const closeSpec = fc.record({
    pick: fc.nat(40),
    how: fc.constantFrom<CloseHow[]>("less", "equal", "more", "zero", "release", "expire"),
  });
  const closings = fc.array(closeSpec, { maxLength: 6 });
  const reserveSpec: fc.Arbitrary<ReserveSpec> = fc.record({
    amount: fc.oneof(fc.bigInt(0n, 700n), fc.constantFrom(0n, 1n, 75n, 500n, 1_000n)),
    budgets: fc.subarray([0, 1, 2, 3], { minLength: 1 }),
    soft: fc.subarray([1, 3]),
    rates: fc.subarray([0, 1, 2], { maxLength: 2 }),
    key: fc.constantFrom(0, 0, 0, 1),
    keyHash: fc.option(fc.nat(2), { freq: 1 }),
    isStale: fc.constantFrom(false, false, false, false, false, true),
  });
  const reservations = fc.array(reserveSpec, { maxLength: 6 });
  const busy = fc.tuple(closings, reservations).map(([ends, asks]) => batch(ends, asks));
  const minuteMs = 60_000;
  const jumps = [1_000, 2, 59 * 1_000, 4, 29, 61, 25 * 60, -3, -61, 31 * 24 * 60].map((step) =>
    Math.abs(step) < 1_000 || step % 1_000 !== 0 ? step * minuteMs : step,
  );
  return [
    busy,
    busy,
    busy,
    closings.map(sweep),
    fc.constant(0).map(extend),
    fc.constantFrom(...jumps).map(moveClock),
    fc.tuple(fc.nat(3), fc.bigInt(0n, 3_000n)).map(([budget, limit]) => changeCap(budget, limit)),
    fc
      .tuple(fc.constantFrom(0, 1), fc.constantFrom<("revoke" | "switch")[]>("switch", "revoke"))
      .map(([index, change]) => changeKey(change === "revoke" ? 1 : index, change)),
    fc
      .tuple(fc.option(closings, { freq: 1 }), fc.nat(5), fc.boolean())
      // An outage takes a second and a half, so only one crash in six has one.
      .map(([spooled, dice, adopts]) => crash(dice === 0 ? spooled : null, adopts)),
  ];
}

async function governanceEpoch({ ground }: World): Promise<bigint> {
  const [row] = await ground.sql<[{ epoch: bigint }]>`
    select governance_epoch as epoch from organizations where id = ${ground.company.organizationId}
  `;
  return row.epoch;
}

async function toReservation(
  spec: ReserveSpec,
  book: Book,
  world: World,
  epoch: bigint,
): Promise<NewReservation> {
  const { company, sql } = world.ground;
  const apiKeyId = book.keys[spec.key]?.id ?? "";
  const [key] = await sql<[{ epoch: bigint }]>`select epoch from api_keys where id = ${apiKeyId}`;
  const now = world.clock.now();
  const hard = spec.budgets.filter((budget) => !spec.soft.includes(budget));
  const soft = spec.budgets.filter((budget) => spec.soft.includes(budget) && hard.length > 0);
  const hash = spec.keyHash === null ? null : `${spec.keyHash}`.padStart(64, "0");
  return {
    organizationId: company.organizationId,
    id: newId("reservation", now),
    requestId: newId("request", now),
    apiKeyId,
    apiKeyEpoch: key.epoch - (spec.isStale ? 1n : 0n),
    governanceEpoch: epoch,
    actorId: company.employeeId,
    teamId: company.teamId,
    projectId: null,
    provider: "openai",
    model: "gpt-4o-mini",
    route: "/v1/chat/completions",
    amountNanoUsd: spec.amount,
    windows: world.windowsOf(hard.length > 0 ? hard : spec.budgets),
    softWindows: world.windowsOf(soft),
    rateWindows: world.rateWindowsOf(spec.rates),
    promptTokensMax: MOST_TOKENS.prompt,
    completionTokensMax: MOST_TOKENS.completion,
    priceVersion: "test",
    nodeId: world.nodeId,
    deadlineAt: new Date(world.nowMs + HOLD_MS),
    idempotency: hash === null ? null : { keyHash: hash, bodyHash: hash },
  };
}

function toBook(reservation: NewReservation, world: World): BookReservation {
  return {
    id: reservation.id,
    apiKeyId: reservation.apiKeyId,
    amountNanoUsd: reservation.amountNanoUsd,
    windows: reservation.windows,
    softWindows: reservation.softWindows,
    rateWindows: reservation.rateWindows,
    keyHash: reservation.idempotency?.keyHash ?? null,
    reservedAtMs: world.nowMs,
    deadlineAtMs: world.nowMs + HOLD_MS,
    status: "held",
    costNanoUsd: null,
    usedTokens: 0n,
    isCorrected: false,
    entries: [],
    liveEvents: 0,
  };
}

/** Any reservation there ever was, ended or not: late, double and out of order are all in this. */
function pickAll(specs: readonly CloseSpec[], book: Book, world: World) {
  return specs.flatMap(({ pick, how }) => {
    const found = book.reservations[pick % Math.max(book.reservations.length, 1)];
    if (found === undefined) return [];
    const as = how === "release" ? "released" : how === "expire" ? "expired" : "settled";
    const cost = costOf(how, found.amountNanoUsd);
    return [{ id: found.id, as, cost, closing: toClosing(found, as, cost, world) }] as const;
  });
}

function costOf(how: CloseHow, amountNanoUsd: bigint): bigint {
  if (how === "zero" || how === "release") return 0n;
  if (how === "less") return amountNanoUsd / 3n;
  return how === "more" ? amountNanoUsd * 2n + 7n : amountNanoUsd;
}

function toClosing(
  found: BookReservation,
  as: "settled" | "released" | "expired",
  costNanoUsd: bigint,
  world: World,
): WriterClosing {
  const occurredAt = world.clock.now();
  const { organizationId } = world.ground.company;
  const shared = {
    organizationId,
    reservationId: found.id,
    provider: "openai",
    windowIds: [...found.windows, ...found.softWindows, ...found.rateWindows].map(({ id }) => id),
    occurredAt,
  };
  if (as === "released") return { ...shared, status: as };
  return {
    ...shared,
    status: as,
    booked: {
      spendEventId: newId("spendEvent", occurredAt),
      ledgerEntryId: newId("ledgerEntry", occurredAt),
      usageSource: as === "expired" ? "recovered" : "provider",
      priceVersion: "test",
      costNanoUsd,
      buckets: {
        ...emptyBuckets,
        inputUncachedTokens: USED_TOKENS.prompt,
        outputTextTokens: USED_TOKENS.completion,
      },
      providerUsage: null,
    },
  };
}

function same(found: unknown, expected: unknown, what: string): void {
  if (found !== expected) {
    throw new Error(`${what}: found ${String(found)}, expected ${String(expected)}`);
  }
}

function show(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === "bigint" ? `${item}n` : item,
  );
}
