/**
 * The audit log as a file. The answer is pulled by the caller page by page: a slow caller slows the
 * reading instead of filling our memory, and holds no connection to the database.
 */
import { z } from "zod";
import {
  EXPORT_FORMATS,
  type ExportFormat,
  exportEvents,
  exportHeading,
} from "../audit/export-events.ts";
import { auditExample, auditFilterOf, auditFilters } from "./audit-fields.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, type Exchange, noBody, noParams } from "./endpoint.ts";
import { requireCapability } from "./member-endpoint.ts";
import { parseWith, readQuery } from "./parse.ts";

const MEDIA: Readonly<Record<ExportFormat, string>> = {
  jsonl: "application/x-ndjson",
  csv: "text/csv; charset=utf-8",
};

const exportQuery = z.strictObject({
  format: z
    .enum(EXPORT_FORMATS, "must be jsonl or csv")
    .default("jsonl")
    .meta({ description: "One JSON object a line, or CSV with a heading." }),
  ...auditFilters,
});

export function auditExport(dependencies: Dependencies): Endpoint {
  const { callers, sql } = dependencies;
  const capabilities = ["audit.read"] as const;
  return {
    method: "GET",
    path: "/export",
    documentation: {
      summary: "Export audit events",
      description:
        "All of them as a file, oldest first; without `to` up to the moment of the request. An " +
        "answer that breaks off is not complete: ask again.",
      isOpen: false,
      capabilities,
      params: noParams,
      query: exportQuery,
      body: noBody,
      answer: z.string(),
      answerExample: `${JSON.stringify(auditExample)}\n`,
      answerMedia: ["application/x-ndjson", "text/csv"],
      status: 200,
    },
    respond: async (exchange) => {
      const member = await callers.requireMember(exchange);
      requireCapability(member, capabilities);
      const query = parseWith(exportQuery, readQuery(exchange.request));
      const { format, to = exchange.now, ...filters } = query;
      const organizationId = member.organization.id;
      const filter = auditFilterOf(organizationId, { ...filters, to });
      const pages = exportEvents(sql, filter, format);
      return new Response(streamOf(exportHeading(format), pages, exchange, dependencies), {
        headers: {
          "content-type": MEDIA[format],
          "content-disposition": `attachment; filename="audit-${organizationId}.${format}"`,
        },
      });
    },
  };
}

function streamOf(
  heading: string,
  pages: AsyncGenerator<string, void, undefined>,
  { requestId }: Exchange,
  { log }: Dependencies,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let before = heading;
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        try {
          const { done, value } = await pages.next();
          if (value !== undefined || before !== "") {
            controller.enqueue(encoder.encode(before + (value ?? "")));
            before = "";
          }
          if (done === true) {
            controller.close();
          }
        } catch (error) {
          // The answer has begun: nothing but its breaking off can tell the caller.
          log.error("audit.export_failed", { requestId, error });
          controller.error(error);
        }
      },
      cancel: async () => {
        await pages.return();
      },
    },
    // Nothing is read ahead: one page is fetched when one is wanted.
    { highWaterMark: 0 },
  );
}
