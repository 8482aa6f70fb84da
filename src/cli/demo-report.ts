/** What happened, as a person would like to read it. */
import { formatUsd } from "../money.ts";
import type { DemoCall } from "./demo-call.ts";
import type { RunningDemo } from "./demo-node.ts";
import type { Style } from "./terminal.ts";

const LABEL_COLUMNS = 14;
/** Wide enough for "$24.9999712 of $25". */
const AMOUNT_COLUMNS = 26;
const TEXT_COLUMNS = 76;

/** The call: asked, answered, reserved, spent, given back, left, and the ids to look it up by. */
export function describeCall(demo: RunningDemo, call: DemoCall, style: Style): string {
  const { booked, budgets } = call;
  const label = (text: string): string => `  ${style.dim(text.padEnd(LABEL_COLUMNS))}`;
  const line = (name: string, text: string, remark?: string): string =>
    remark === undefined
      ? `${label(name)}${text}`
      : `${label(name)}${text.padEnd(AMOUNT_COLUMNS)}${style.dim(remark)}`;
  const tokens = `${booked.inputTokens} prompt + ${booked.outputTokens} completion tokens`;
  const usageSource = booked.usageSource === "provider" ? "as the provider reported" : "estimated";
  const givenBackNanoUsd = booked.reservedNanoUsd - booked.costNanoUsd;
  return [
    "",
    style.bold("  One call went through the gateway, from reservation to ledger."),
    "",
    line("Asked", wrap(call.question)),
    line("Answered", wrap(call.answer)),
    line("By", `${call.model}, ${demo.providerName}`),
    "",
    line("Reserved", usd(booked.reservedNanoUsd), "the most it could cost, before it was made"),
    line("Spent", usd(booked.costNanoUsd), `${tokens}, ${usageSource}`),
    line("Given back", usd(givenBackNanoUsd), `the reservation is ${booked.status}`),
    ...budgets.map(({ name, period, limitNanoUsd, settledNanoUsd, heldNanoUsd }, index) =>
      line(
        index === 0 ? "Left" : "",
        `${usd(limitNanoUsd - settledNanoUsd - heldNanoUsd)} of ${usd(limitNanoUsd)}`,
        `${name}, this ${period}`,
      ),
    ),
    "",
    line("Ledger entry", `${booked.ledgerEntryId}  ${usd(booked.ledgerNanoUsd)}`),
    line("Reservation", booked.reservationId),
    line("Request", booked.requestId),
    "",
  ].join("\n");
}

/** Where to look and what to type while the demo serves. */
export function describeWayOn(demo: RunningDemo, model: string, style: Style): string {
  const { url, admin, company } = demo;
  const line = (label: string, text: string): string =>
    `  ${style.dim(label.padEnd(LABEL_COLUMNS))}${text}`;
  return [
    line("Dashboard", style.bold(`${url}/`)),
    line("Swagger UI", style.bold(`${url}/docs`)),
    line("Sign in", `${admin.email}  ${admin.password}`),
    "",
    style.bold("  Call it"),
    "",
    `  curl ${url}/v1/chat/completions \\`,
    `    -H 'Authorization: Bearer ${company.token}' \\`,
    "    -H 'Content-Type: application/json' \\",
    `    -d '{"model":"${model}","messages":[{"role":"user","content":"Hello"}]}'`,
    "",
    style.bold("  Or change two settings of any OpenAI client"),
    "",
    '  import OpenAI from "openai";',
    "  const client = new OpenAI({",
    `    baseURL: "${url}/v1",`,
    `    apiKey: "${company.token}",`,
    "  });",
    "",
    style.dim("  Ctrl-C stops."),
    "",
  ].join("\n");
}

function usd(amountNanoUsd: bigint): string {
  const text = formatUsd(amountNanoUsd);
  return text.startsWith("-") ? `-$${text.slice(1)}` : `$${text}`;
}

/** Breaks at blanks; further lines stand under the first. */
function wrap(text: string): string {
  const lines = [""];
  for (const word of text.trim().split(/\s+/)) {
    const last = lines[lines.length - 1] ?? "";
    if (last !== "" && last.length + word.length + 1 > TEXT_COLUMNS - LABEL_COLUMNS) {
      lines.push(word);
    } else {
      lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
    }
  }
  return lines.join(`\n${" ".repeat(LABEL_COLUMNS + 2)}`);
}
