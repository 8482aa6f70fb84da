/** Writes the audit log into a file, a page at a time. */
import { type FileHandle, open, rm } from "node:fs/promises";
import { type ExportFormat, exportEvents, exportHeading } from "../audit/export-events.ts";
import type { Sql } from "../database/client.ts";
import { errorCodeOf } from "../database/sqlstate.ts";
import { organizationIds } from "../ledger/proof-queries.ts";
import { type ExitCode, UsageError } from "./command.ts";

export type AuditExportOptions = {
  /** Null for all, one after the other. */
  readonly organizationId: string | null;
  readonly format: ExportFormat;
  /** `-` is standard output. */
  readonly output: string;
  readonly from: Date | null;
  readonly to: Date;
};

type Write = (text: string) => Promise<unknown>;

const ORGANIZATIONS_PAGE = 500;
/** It says who did what from where. */
const FILE_MODE = 0o600;

/** Throws `UsageError` when the file is there already. A file that was not finished is removed. */
export async function exportAuditLog(sql: Sql, options: AuditExportOptions): Promise<ExitCode> {
  if (options.output === "-") {
    await exportTo((text) => Bun.write(Bun.stdout, text), sql, options);
    return 0;
  }
  const file = await create(options.output);
  try {
    await exportTo((text) => file.write(text), sql, options);
    await file.sync();
  } catch (error) {
    await rm(options.output, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  return 0;
}

async function create(path: string): Promise<FileHandle> {
  try {
    return await open(path, "wx", FILE_MODE);
  } catch (error) {
    throw errorCodeOf(error) === "EEXIST" ? new UsageError(`${path} exists already`) : error;
  }
}

async function exportTo(write: Write, sql: Sql, options: AuditExportOptions): Promise<void> {
  await write(exportHeading(options.format));
  if (options.organizationId !== null) {
    await exportOne(write, sql, options.organizationId, options);
    return;
  }
  let page: readonly string[];
  let afterId = "";
  do {
    page = await organizationIds(sql, { afterId, limit: ORGANIZATIONS_PAGE });
    for (const id of page) {
      await exportOne(write, sql, id, options);
      afterId = id;
    }
  } while (page.length === ORGANIZATIONS_PAGE);
}

async function exportOne(
  write: Write,
  sql: Sql,
  organizationId: string,
  { from, to, format }: AuditExportOptions,
): Promise<void> {
  const filter = { organizationId, actorId: null, action: null, subjectId: null, from, to };
  for await (const text of exportEvents(sql, filter, format)) {
    await write(text);
  }
}
