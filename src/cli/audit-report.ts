/** Prints what the proof of the audit log found. */
import { type AuditVerdict, verifyAuditLog } from "../audit/verify-audit.ts";
import type { Sql } from "../database/client.ts";
import type { ExitCode } from "./command.ts";

const LINES_MAX = 100;

/** Null proves every organization's log. */
export async function reportAuditVerdict(
  sql: Sql,
  organizationId: string | null,
  asJson: boolean,
): Promise<ExitCode> {
  const verdict = await verifyAuditLog(sql, organizationId);
  if (asJson) {
    console.log(JSON.stringify(toJson(verdict)));
  } else {
    print(verdict);
  }
  return verdict.differenceCount === 0 ? 0 : 1;
}

function print(verdict: AuditVerdict): void {
  for (const { organizationId, code, detail } of verdict.differences.slice(0, LINES_MAX)) {
    console.log(`${organizationId}  ${code}: ${detail}`);
  }
  if (verdict.differenceCount > LINES_MAX) {
    console.log(`... ${verdict.differenceCount} in all`);
  }
  for (const { organizationId, sealNo, hash } of verdict.heads.slice(0, LINES_MAX)) {
    console.log(`head  ${organizationId}  seal ${sealNo} ${hash}`);
  }
  console.log(
    `proved ${verdict.organizationCount} organization(s), ${verdict.sealedEventCount} events in ` +
      `${verdict.sealCount} seals (${verdict.unsealedEventCount} events not sealed yet)`,
  );
  console.log(
    verdict.differenceCount === 0
      ? "the audit log is as it was written"
      : `${verdict.differenceCount} difference(s)`,
  );
}

function toJson(verdict: AuditVerdict) {
  return {
    isClean: verdict.differenceCount === 0,
    differenceCount: verdict.differenceCount,
    differences: verdict.differences,
    organizationCount: verdict.organizationCount,
    sealCount: verdict.sealCount,
    sealedEventCount: verdict.sealedEventCount,
    unsealedEventCount: verdict.unsealedEventCount,
    heads: verdict.heads.map(({ sealNo, ...head }) => ({ ...head, sealNo: Number(sealNo) })),
  };
}
