/**
 * The figures of the overview: asks for what the caller may see, keeps the last good answer of each
 * part when a later one fails, and ends the session when the server says that it has ended.
 */
import { batch, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type * as z from "zod/mini";
import {
  type AlertPage,
  alertsAnswer,
  type BudgetPage,
  budgetsAnswer,
  type Caller,
  type DailyUsage,
  dailyUsageAnswer,
  type HeldPage,
  heldAnswer,
  type LedgerPage,
  ledgerAnswer,
} from "./answers.ts";
import { askManagement } from "./client.ts";
import { type Failure, failureOf, isSignedOut } from "./failure.ts";
import { joinNewest, joinOlder } from "./ledger-pages.ts";
import type { Session } from "./session.ts";
import { USAGE_DAYS } from "./usage-days.ts";

/** The last good answer and what went wrong since; both `null` before the first answer. */
export interface Section<Value> {
  readonly value: Value | null;
  readonly failure: Failure | null;
}

export interface Overview {
  readonly alerts: ReadonlySignal<Section<AlertPage>>;
  readonly budgets: ReadonlySignal<Section<BudgetPage>>;
  readonly usage: ReadonlySignal<Section<readonly DailyUsage[]>>;
  readonly held: ReadonlySignal<Section<HeldPage>>;
  readonly ledger: ReadonlySignal<Section<LedgerPage>>;
  /** When every part was last answered, in milliseconds since 1970; `null` before that. */
  readonly updatedAtMs: ReadonlySignal<number | null>;
  readonly isRefreshing: ReadonlySignal<boolean>;
  readonly refresh: () => Promise<void>;
  /** Adds the next older page of the ledger. */
  readonly loadOlderEntries: () => Promise<void>;
}

const ALERTS_MAX = 20;
const BUDGETS_MAX = 100;
const HELD_MAX = 100;
const LEDGER_PAGE_ENTRIES = 20;

const CAPABILITIES = {
  alerts: "alert.read",
  budgets: "budget.read",
  usage: "usage.read",
  held: "reservation.read",
  ledger: "ledger.read",
} as const;

/** What a caller may see; a part that is not in here is neither asked for nor shown. */
export function visibleParts(caller: Caller): ReadonlySet<keyof typeof CAPABILITIES> {
  const parts = Object.keys(CAPABILITIES) as (keyof typeof CAPABILITIES)[];
  return new Set(parts.filter((part) => caller.capabilities.includes(CAPABILITIES[part])));
}

export function createOverview(session: Session, caller: Caller): Overview {
  const alerts = emptySection<AlertPage>();
  const budgets = emptySection<BudgetPage>();
  const usage = emptySection<readonly DailyUsage[]>();
  const held = emptySection<HeldPage>();
  const ledger = emptySection<LedgerPage>();
  const updatedAtMs = signal<number | null>(null);
  const isRefreshing = signal(false);
  const visible = visibleParts(caller);

  const ask = <Schema extends z.ZodMiniType>(path: string, schema: Schema) =>
    askManagement("GET", path, schema);
  const loads = {
    alerts: () =>
      load(alerts, ask(`/alerts?state=open&limit=${ALERTS_MAX}`, alertsAnswer), takeNew),
    budgets: () => load(budgets, ask(`/budgets?limit=${BUDGETS_MAX}`, budgetsAnswer), takeNew),
    usage: () =>
      load(
        usage,
        ask(`/usage/daily?days=${USAGE_DAYS}`, dailyUsageAnswer),
        (_, { items }) => items,
      ),
    held: () => load(held, ask(`/reservations?status=held&limit=${HELD_MAX}`, heldAnswer), takeNew),
    ledger: () => load(ledger, ask(ledgerPath(null), ledgerAnswer), joinNewest),
  };

  async function refresh(): Promise<void> {
    if (isRefreshing.value) return;
    isRefreshing.value = true;
    const outcomes = await Promise.all([...visible].map((part) => loads[part]()));
    // One render for all parts: figures that belong together change together.
    batch(() => {
      for (const outcome of outcomes) outcome.show();
      isRefreshing.value = false;
      if (outcomes.every(({ failure }) => failure === null)) updatedAtMs.value = Date.now();
      if (outcomes.some(({ failure }) => hasEnded(failure))) session.expire();
    });
  }

  async function loadOlderEntries(): Promise<void> {
    const cursor = ledger.value.value?.nextCursor;
    if (cursor === null || cursor === undefined) return;
    const outcome = await load(ledger, ask(ledgerPath(cursor), ledgerAnswer), (shown, older) =>
      joinOlder(shown, older, cursor),
    );
    outcome.show();
    if (hasEnded(outcome.failure)) session.expire();
  }

  const sections = { alerts, budgets, usage, held, ledger };
  return { ...sections, updatedAtMs, isRefreshing, refresh, loadOlderEntries };
}

interface Outcome {
  readonly failure: Failure | null;
  readonly show: () => void;
}

/** Waits for an answer and prepares its showing; a failure leaves the last good value in place. */
async function load<Value, Answer>(
  section: Signal<Section<Value>>,
  asked: Promise<Answer>,
  join: (shown: Value | null, answer: Answer) => Value,
): Promise<Outcome> {
  try {
    const answer = await asked;
    const show = () => {
      section.value = { value: join(section.value.value, answer), failure: null };
    };
    return { failure: null, show };
  } catch (error) {
    const failure = failureOf(error);
    const show = () => {
      section.value = { value: section.value.value, failure };
    };
    return { failure, show };
  }
}

function emptySection<Value>(): Signal<Section<Value>> {
  return signal<Section<Value>>({ value: null, failure: null });
}

function takeNew<Answer>(_: Answer | null, answer: Answer): Answer {
  return answer;
}

function ledgerPath(cursor: string | null): string {
  const path = `/ledger-entries?limit=${LEDGER_PAGE_ENTRIES}`;
  return cursor === null ? path : `${path}&cursor=${encodeURIComponent(cursor)}`;
}

function hasEnded(failure: Failure | null): boolean {
  return failure !== null && isSignedOut(failure);
}
