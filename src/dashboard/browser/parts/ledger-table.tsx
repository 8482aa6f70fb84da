/** The latest ledger entries, with exact amounts aligned at the decimal point. */
import { useState } from "preact/hooks";
import { splitDollars } from "../amount.ts";
import type { LedgerEntry, LedgerPage } from "../answers.ts";
import { canLoadOlder, LEDGER_ENTRIES_MAX } from "../ledger-pages.ts";
import { longMoment, shortMoment } from "../moment.ts";
import { CopyButton } from "./copy-button.tsx";
import { Dollars } from "./dollars.tsx";
import { FirstCall } from "./first-call.tsx";

interface LedgerTableProps {
  readonly page: LedgerPage;
  readonly onLoadOlder: () => Promise<void>;
}

export function LedgerTable({ page, onLoadOlder }: LedgerTableProps) {
  if (page.items.length === 0) return <FirstCall />;
  const alignDigits = Math.max(
    ...page.items.map((entry) => splitDollars(entry.amountUsd).belowCent.length),
  );
  return (
    <>
      <table class="ledger">
        <caption class="visually-hidden">Latest ledger entries, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Model</th>
            <th scope="col">Request</th>
            <th scope="col">Actor and key</th>
            <th scope="col" class="amount">
              Amount
            </th>
          </tr>
        </thead>
        <tbody>
          {page.items.map((entry) => (
            <EntryRow key={entry.id} entry={entry} alignDigits={alignDigits} />
          ))}
        </tbody>
      </table>
      <LedgerEnd page={page} onLoadOlder={onLoadOlder} />
    </>
  );
}

function EntryRow({ entry, alignDigits }: { entry: LedgerEntry; alignDigits: number }) {
  return (
    <tr>
      <td class="entry-time">
        <time dateTime={entry.occurredAt} title={longMoment(entry.occurredAt)}>
          {shortMoment(entry.occurredAt)}
        </time>
        <CopyId what="ledger entry id" id={entry.id} />
      </td>
      <td class="entry-model">
        <span class="model-name">{modelWords(entry)}</span>
        <span class="entry-source">
          {entry.kind.replaceAll("_", " ")}
          <UsageSource source={entry.usageSource ?? null} />
        </span>
      </td>
      <td class="entry-request">
        <CopyId what="request id" id={entry.requestId ?? null} />
      </td>
      <td class="entry-actor">
        <CopyId what="actor id" id={entry.actorId ?? null} />
        <CopyId what="key id" id={entry.apiKeyId ?? null} />
      </td>
      <td class="amount">
        <Dollars amountNanoUsd={entry.amountUsd} alignDigits={alignDigits} />
      </td>
    </tr>
  );
}

/** Who counted the tokens: the provider, or Spendra because the provider's count never came. */
function UsageSource({ source }: { source: string | null }) {
  if (source === null) return null;
  const isInferred = source !== "provider";
  return <span class={isInferred ? "source-inferred" : undefined}>{source} usage</span>;
}

function CopyId({ what, id }: { what: string; id: string | null }) {
  if (id === null) return null;
  return <CopyButton what={what} text={id} />;
}

function modelWords({ provider, model }: LedgerEntry): string {
  const parts = [provider, model].filter((part) => part !== null && part !== undefined);
  return parts.length === 0 ? "–" : parts.join(" / ");
}

function LedgerEnd({ page, onLoadOlder }: LedgerTableProps) {
  const [isLoading, setIsLoading] = useState(false);
  if (page.items.length >= LEDGER_ENTRIES_MAX) {
    return <p class="muted">Older entries: GET /management/ledger-entries.</p>;
  }
  if (!canLoadOlder(page)) return <p class="muted">That is the whole ledger.</p>;
  const loadOlder = async () => {
    setIsLoading(true);
    await onLoadOlder();
    setIsLoading(false);
  };
  return (
    <button
      type="button"
      class="button"
      aria-disabled={isLoading}
      onClick={() => void (isLoading || loadOlder())}
    >
      {isLoading ? "Loading…" : "Load more"}
    </button>
  );
}
