/** What a proof finds wrong, and a bounded list of it. */
import type { Queryable } from "../database/client.ts";
import type { NanoUsd } from "../money.ts";

export const PROOF_NAMES = ["seals", "windows", "usage", "bookings", "accounts"] as const;

export type ProofName = (typeof PROOF_NAMES)[number];

export type Difference = {
  readonly proof: ProofName;
  readonly organizationId: string;
  /** What kind of difference, in snake_case: `window_settled_differs`. */
  readonly code: string;
  /** The id of what is wrong: a window, a reservation, a seal's number, an account, a day. */
  readonly subject: string;
  /** A sentence for people, with the amounts. */
  readonly detail: string;
  /** By how much, never negative; zero where it is not about an amount. */
  readonly driftNanoUsd: NanoUsd;
};

/** So many are kept of each proof and organization; all are counted. */
export const DIFFERENCES_KEPT_MAX = 100;
/** So many are kept in all: a broken book must not fill the memory of who reads it. */
const DIFFERENCES_LISTED_MAX = 1_000;

export class DifferenceList {
  readonly #listed: Difference[] = [];
  #count = 0n;
  #driftNanoUsd = 0n;

  /** Adds one that is counted here. */
  add(difference: Difference): void {
    this.#count += 1n;
    this.#driftNanoUsd += difference.driftNanoUsd;
    this.#keep(difference);
  }

  /** Adds what a statement found: the first of them as examples, count and drift of all. */
  addAll(
    examples: readonly Difference[],
    all: { readonly count: bigint; readonly driftNanoUsd: NanoUsd },
  ): void {
    this.#count += all.count;
    this.#driftNanoUsd += all.driftNanoUsd;
    for (const difference of examples) {
      this.#keep(difference);
    }
  }

  get listed(): readonly Difference[] {
    return this.#listed;
  }

  get count(): bigint {
    return this.#count;
  }

  get driftNanoUsd(): NanoUsd {
    return this.#driftNanoUsd;
  }

  #keep(difference: Difference): void {
    if (this.#listed.length < DIFFERENCES_LISTED_MAX) {
      this.#listed.push(difference);
    }
  }
}

/** How far apart two amounts are. */
export function distance(oneNanoUsd: NanoUsd, otherNanoUsd: NanoUsd): NanoUsd {
  return oneNanoUsd < otherNanoUsd ? otherNanoUsd - oneNanoUsd : oneNanoUsd - otherNanoUsd;
}

/** What every proof is given: where to read, whose books, where to put what differs. */
export type Proving = {
  readonly sql: Queryable;
  readonly organizationId: string;
  readonly differences: DifferenceList;
  /** Called now and then with how many items were looked at so far. */
  readonly onChecked: (checkedCount: bigint) => void;
};
