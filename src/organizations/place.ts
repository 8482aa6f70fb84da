/**
 * The verbs of every place below the organization: changing (renaming, moving) and archiving, each
 * under the organization's lock, for a version, with its audit row. What a kind of place consists
 * of, and what it refuses, is in that kind's file.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { AuditFacts } from "../audit/queries.ts";
import type { Queryable, Transaction } from "../database/client.ts";
import { requireVersion } from "../database/require-version.ts";
import { PublicError } from "../errors.ts";
import {
  childCounts,
  organizationLock,
  type PlaceKind,
  type PlaceRow,
  placeArchive,
  placeState,
  type Reader,
} from "./place-queries.ts";
import type { Scope } from "./scopes.ts";

/** A place, as its reader sees it, at the version that the reader has seen. */
export type Target = Reader & { id: string; expectedVersion: number };

/** What the verbs need to know of a kind of place. `Facts` is all of it that can be changed. */
export type Place<Row extends PlaceRow, Facts extends AuditFacts> = {
  kind: PlaceKind;
  find(sql: Queryable, reader: Reader, id: string): Promise<Row | null>;
  factsOf(row: Row): Facts;
  /** Throws `invalid_request` naming the field unless the place may become this. */
  refuseBad(transaction: Transaction, place: PlaceId, after: Facts, before: Facts): Promise<void>;
  update(sql: Queryable, place: PlaceId, facts: Facts): Promise<void>;
};

type PlaceId = { organizationId: string; id: string };

/** The facts that change; one that is absent stays. */
export type Changes<Facts> = { readonly [Name in keyof Facts]?: Facts[Name] | undefined };

/**
 * Changes a place and answers its row. Changing it to what it is changes nothing. Throws
 * `not_found`, `version_stale`, `archived`, and `invalid_request` naming the field.
 */
export async function changePlace<Row extends PlaceRow, Facts extends AuditFacts>(
  transaction: Transaction,
  place: Place<Row, Facts>,
  target: Target,
  changes: Changes<Facts>,
  change: Change,
): Promise<Row> {
  const row = await lockPlace(transaction, place, target);
  if (row.archived_at !== null) {
    throw new PublicError("archived", `This ${place.kind} is archived and cannot be changed.`);
  }
  const before = place.factsOf(row);
  const after = { ...before, ...definedOf(changes) };
  const changed = Object.keys(before).filter((name) => before[name] !== after[name]);
  if (changed.length === 0) {
    return row;
  }
  const { organizationId, id } = target;
  await place.refuseBad(transaction, { organizationId, id }, after, before);
  await place.update(transaction, { organizationId, id }, after);
  await recordAuditEvent(
    transaction,
    {
      organizationId,
      action: `${place.kind}.change`,
      subjectId: id,
      before: pick(before, changed),
      after: pick(after, changed),
    },
    change,
  );
  return await findAgain(transaction, place, target);
}

/**
 * Archives a place and answers its row. It keeps its money and its history; keys under it open
 * nothing from now on. Archiving it again changes nothing. Throws `not_found`, `version_stale`, and
 * `still_in_use` with the number of active places below it.
 */
export async function archivePlace<Row extends PlaceRow, Facts extends AuditFacts>(
  transaction: Transaction,
  place: Place<Row, Facts>,
  target: Target,
  change: Change,
): Promise<Row> {
  const row = await lockPlace(transaction, place, target);
  if (row.archived_at !== null) {
    return row;
  }
  const { organizationId, id } = target;
  await refuseInUse(transaction, place.kind, { organizationId, id });
  const archivedAt = change.at;
  await placeArchive(transaction, { kind: place.kind, organizationId, id, archivedAt });
  await recordAuditEvent(
    transaction,
    {
      organizationId,
      action: `${place.kind}.archive`,
      subjectId: id,
      before: { archivedAt: null },
      after: { archivedAt: archivedAt.toISOString() },
    },
    change,
  );
  return await findAgain(transaction, place, target);
}

/** Takes the lock under which a new place is checked and written. Throws `not_found`. */
export async function lockOrganization(
  transaction: Transaction,
  organizationId: string,
): Promise<void> {
  if (!(await organizationLock(transaction, organizationId))) {
    throw new PublicError("not_found", "There is no such organization.");
  }
}

/** Throws `invalid_request` naming the field unless the organization has the place, active. */
export async function requireActive(
  sql: Queryable,
  place: { kind: PlaceKind; organizationId: string; id: string },
  field: string,
): Promise<void> {
  const state = await placeState(sql, place);
  if (state !== "active") {
    const reason = state === null ? `There is no such ${place.kind}.` : "It is archived.";
    throw new PublicError("invalid_request", reason, { param: field });
  }
}

/** Throws `invalid_request` naming `scope.id` when the scope is a place that is archived. */
export async function refuseArchivedScope(
  sql: Queryable,
  organizationId: string,
  { kind, id }: Scope,
): Promise<void> {
  if (kind === "organization" || kind === "api_key") {
    return;
  }
  const placeKind = kind === "subagent" ? "agent" : kind;
  if ((await placeState(sql, { kind: placeKind, organizationId, id })) === "archived") {
    throw new PublicError("invalid_request", `This ${kind} is archived.`, { param: "scope.id" });
  }
}

async function lockPlace<Row extends PlaceRow, Facts extends AuditFacts>(
  transaction: Transaction,
  place: Place<Row, Facts>,
  target: Target,
): Promise<Row> {
  await lockOrganization(transaction, target.organizationId);
  const row = await findAgain(transaction, place, target);
  requireVersion(row, target.expectedVersion);
  return row;
}

async function findAgain<Row extends PlaceRow, Facts extends AuditFacts>(
  transaction: Transaction,
  place: Place<Row, Facts>,
  target: Target,
): Promise<Row> {
  const row = await place.find(transaction, target, target.id);
  if (row === null) {
    throw new PublicError("not_found", `There is no such ${place.kind}.`);
  }
  return row;
}

async function refuseInUse(
  transaction: Transaction,
  kind: PlaceKind,
  place: PlaceId,
): Promise<void> {
  const counts = Object.entries(await childCounts(transaction, place)).filter(
    ([, count]) => count > 0,
  );
  if (counts.length > 0) {
    const inTheWay = counts.map(([noun, count]) => `${count} ${noun}`).join(", ");
    throw new PublicError(
      "still_in_use",
      `This ${kind} has ${inTheWay}. Move or archive them first.`,
      { details: Object.fromEntries(counts) },
    );
  }
}

function definedOf<Facts extends AuditFacts>(changes: Changes<Facts>): Partial<Facts> {
  const defined = Object.entries(changes).filter(([, value]) => value !== undefined);
  return Object.fromEntries(defined) as Partial<Facts>;
}

function pick(facts: AuditFacts, names: readonly string[]): AuditFacts {
  return Object.fromEntries(names.map((name) => [name, facts[name] ?? null]));
}
