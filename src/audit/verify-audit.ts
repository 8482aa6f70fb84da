/**
 * Proves the audit log: the chain of seals recomputes and links, and the events below its head are
 * those that were sealed. Each that was changed, taken away or slipped in is named. What a chain
 * cannot show is that its end was cut off together with its events: for that, keep the head that
 * this answers somewhere else. One snapshot, reads only, a page of seals in memory.
 */
import type { Sql, Transaction } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import { organizationIds } from "../ledger/proof-queries.ts";
import { type AuditSealCheckRow, auditSealCheckList, unsealedEventCount } from "./chain-queries.ts";

export type AuditDifference = {
  readonly organizationId: string;
  /** What kind of difference, in snake_case: `event_changed`. */
  readonly code: string;
  /** The id of the event, or `seal 3`. */
  readonly subject: string;
  /** A sentence for people. */
  readonly detail: string;
};

export type AuditHead = {
  readonly organizationId: string;
  readonly sealNo: bigint;
  readonly hash: string;
};

/** What was found. The log is as it was written when `differenceCount` is zero. */
export type AuditVerdict = {
  readonly differences: readonly AuditDifference[];
  readonly differenceCount: number;
  /** The newest seal of each organization, of the first HEADS_MAX organizations. */
  readonly heads: readonly AuditHead[];
  readonly organizationCount: number;
  readonly sealCount: number;
  readonly sealedEventCount: number;
  readonly unsealedEventCount: number;
};

const STATEMENT_TIMEOUT_MS = 10 * 60_000;
const ORGANIZATIONS_PAGE = 500;
/** At most 100,000 events a statement. */
const SEALS_PAGE = 100;
const HEADS_MAX = 1_000;
/** A broken log must not fill the memory of who reads it; all are counted. */
const DIFFERENCES_LISTED_MAX = 1_000;
const FIRST_PREVIOUS_HASH = "00".repeat(32);

/** Where the next seal has to begin. */
type Link = { readonly sealNo: bigint; readonly throughNumber: bigint; readonly hash: string };

/** Null for all. Rejects only when the database fails; what is wrong is in the answer. */
export async function verifyAuditLog(
  sql: Sql,
  organizationId: string | null,
): Promise<AuditVerdict> {
  const findings = new Findings();
  await inTransaction(
    sql,
    async (transaction) => {
      await transaction`
        -- name: audit_log.verify_settings
        select set_config('statement_timeout', ${`${STATEMENT_TIMEOUT_MS}ms`}, true)
      `;
      if (organizationId !== null) {
        await verifyChain(transaction, organizationId, findings);
        return;
      }
      let page: readonly string[];
      let afterId = "";
      do {
        page = await organizationIds(transaction, { afterId, limit: ORGANIZATIONS_PAGE });
        for (const id of page) {
          await verifyChain(transaction, id, findings);
          afterId = id;
        }
      } while (page.length === ORGANIZATIONS_PAGE);
    },
    "isolation level repeatable read read only",
  );
  return findings;
}

class Findings implements AuditVerdict {
  readonly differences: AuditDifference[] = [];
  readonly heads: AuditHead[] = [];
  differenceCount = 0;
  organizationCount = 0;
  sealCount = 0;
  sealedEventCount = 0;
  unsealedEventCount = 0;

  add(difference: AuditDifference): void {
    this.differenceCount += 1;
    if (this.differences.length < DIFFERENCES_LISTED_MAX) {
      this.differences.push(difference);
    }
  }
}

async function verifyChain(
  sql: Transaction,
  organizationId: string,
  findings: Findings,
): Promise<void> {
  let link: Link = { sealNo: 0n, throughNumber: 0n, hash: FIRST_PREVIOUS_HASH };
  let seals: readonly AuditSealCheckRow[];
  do {
    const page = { organizationId, afterSealNo: link.sealNo, limit: SEALS_PAGE };
    seals = await auditSealCheckList(sql, page);
    for (const seal of seals) {
      const report = (code: string, subject: string, detail: string): void =>
        findings.add({ organizationId, code, subject, detail });
      checkLink(seal, link, report);
      checkEvents(seal, report);
      link = { sealNo: seal.seal_no, throughNumber: seal.event_no_through, hash: seal.hash };
      findings.sealCount += 1;
      findings.sealedEventCount += seal.event_count;
    }
  } while (seals.length === SEALS_PAGE);
  const unsealed = await unsealedEventCount(sql, organizationId, link.throughNumber);
  findings.organizationCount += 1;
  findings.unsealedEventCount += Number(unsealed);
  if (link.sealNo > 0n && findings.heads.length < HEADS_MAX) {
    findings.heads.push({ organizationId, sealNo: link.sealNo, hash: link.hash });
  }
}

type Report = (code: string, subject: string, detail: string) => void;

function checkLink(seal: AuditSealCheckRow, before: Link, report: Report): void {
  const name = `seal ${seal.seal_no}`;
  if (!seal.is_intact) {
    report("seal_changed", name, `${name} does not have the hash that it says`);
  }
  if (seal.seal_no !== before.sealNo + 1n) {
    report(
      "seal_missing",
      name,
      `${name} follows seal ${before.sealNo}: what was between them is gone`,
    );
  } else if (seal.previous_hash !== before.hash) {
    report(
      "seal_not_linked",
      name,
      `${name} does not name the hash of seal ${before.sealNo}, which was changed`,
    );
  } else if (seal.event_no_from !== before.throughNumber + 1n) {
    report(
      "seal_range_broken",
      name,
      `${name} begins at event number ${seal.event_no_from} and seal ${before.sealNo} ends at ` +
        `${before.throughNumber}`,
    );
  }
}

function checkEvents(seal: AuditSealCheckRow, report: Report): void {
  const sealed = digestsById(seal.sealed_digests);
  const found = digestsById(seal.found_digests);
  for (const [event, digest] of sealed) {
    const [number, id = ""] = event.split(" ");
    const present = found.get(event);
    if (present === undefined) {
      report(
        "event_removed",
        id,
        `event ${id} (number ${number}) was sealed in seal ${seal.seal_no} and is gone`,
      );
    } else if (present !== digest) {
      report(
        "event_changed",
        id,
        `event ${id} (number ${number}) is not what was sealed in seal ${seal.seal_no}`,
      );
    }
  }
  for (const event of found.keys()) {
    if (!sealed.has(event)) {
      const [number, id = ""] = event.split(" ");
      report(
        "event_inserted",
        id,
        `event ${id} (number ${number}) is in the range of seal ${seal.seal_no}, which was made ` +
          "without it",
      );
    }
  }
}

/** From lines of `<number> <id> <hash>` to the hash by number and id. */
function digestsById(digests: string | null): ReadonlyMap<string, string> {
  const lines = (digests ?? "").split("\n").filter((line) => line !== "");
  return new Map(
    lines.map((line) => {
      const cut = line.lastIndexOf(" ");
      return [line.slice(0, cut), line.slice(cut + 1)] as const;
    }),
  );
}
