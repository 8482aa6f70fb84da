/**
 * The reservations of a batch by what they have in common. Callers repeat themselves: a group has
 * everything but ids and amounts once, so that less is written, sent and unpacked.
 */
import { assert } from "../assert.ts";
import type { NewReservation } from "./reservation.ts";

/** A window for `open_windows`, `lock_windows` and `reserve`. */
export type WindowJson = {
  organization_id: string;
  id: string;
  budget_id?: string | undefined;
  policy_id?: string | undefined;
  window_start?: string;
  window_end?: string | null;
  /** Whether it binds anyone in the batch; a soft cap's window counts and never refuses. */
  is_binding?: boolean;
  /** What the batch asks of it, in its unit. Absent where only closings name it. */
  asked?: bigint;
};

/** Arrays of one length: one entry a reservation. */
type Members = {
  /** Places in the order of arrival, from 1. */
  ordinals: number[];
  ids: string[];
  request_ids: string[];
  amounts: string[];
  prompt_tokens_maxes: string[];
  /** Prompt and completion at most. */
  tokens: string[];
  deadlines: string[];
  idempotency_hashes: (string | null)[];
  body_hashes: (string | null)[];
};

/** What the members have in common is the first one's; the sums are over all of them. */
type Group = {
  first: NewReservation;
  amountNanoUsd: bigint;
  tokens: bigint;
  members: Members;
};

/** Every window of the batch once; reservations refer to them by position, from 1. */
export class WindowList {
  readonly rows: WindowJson[] = [];
  readonly #ordinals = new Map<string, number>();

  /** A closing names a window by id alone. */
  name(organization_id: string, id: string): number {
    return this.#ordinals.get(id) ?? this.#add({ organization_id, id });
  }

  /** A reservation brings what it takes to open the window. */
  ask(window: AskedWindow, organization_id: string): number {
    const ordinal = this.name(organization_id, window.id);
    const row = this.rows[ordinal - 1];
    assert(row !== undefined, "every ordinal has its window");
    if (row.asked === undefined) {
      row.window_start = window.start.toISOString();
      row.window_end = window.end?.toISOString() ?? null;
      row.budget_id = window.budgetId;
      row.policy_id = window.policyId;
      row.is_binding = false;
      row.asked = 0n;
    }
    row.is_binding ||= window.isBinding;
    row.asked += window.asked;
    return ordinal;
  }

  #add(window: WindowJson): number {
    const ordinal = this.rows.push(window);
    this.#ordinals.set(window.id, ordinal);
    return ordinal;
  }
}

type AskedWindow = {
  id: string;
  start: Date;
  end: Date | null;
  budgetId?: string;
  policyId?: string;
  isBinding: boolean;
  asked: bigint;
};

/** In order of arrival. `shared` stands beside `members`; adds what is asked to the windows. */
export function groupReservations(
  reservations: readonly NewReservation[],
  windows: WindowList,
): { shared: readonly object[]; members: readonly Members[] } {
  const groups = new Map<string, Group>();
  for (const [index, reservation] of reservations.entries()) {
    const key = groupKeyOf(reservation);
    const group = groups.get(key) ?? emptyGroup(reservation);
    groups.set(key, group);
    addMember(group, reservation, index + 1);
  }
  const all = [...groups.values()];
  return {
    shared: all.map((group) => toSharedRow(group, windows)),
    members: all.map(({ members }) => members),
  };
}

/** Everything that `toSharedRow` writes. */
function groupKeyOf(reservation: NewReservation): string {
  const { organizationId, apiKeyId, apiKeyEpoch, governanceEpoch, actorId, teamId } = reservation;
  const { projectId, provider, model, route, priceVersion, nodeId } = reservation;
  let key =
    `${organizationId}\n${apiKeyId}\n${apiKeyEpoch}\n${governanceEpoch}\n${actorId}\n` +
    `${teamId}\n${projectId}\n${provider}\n${route}\n${priceVersion}\n${nodeId}`;
  for (const { id } of reservation.windows) {
    key += `\n${id}`;
  }
  for (const { id } of reservation.softWindows) {
    key += `\nsoft ${id}`;
  }
  for (const { id } of reservation.rateWindows) {
    key += `\n${id}`;
  }
  // Last: what callers write may hold anything.
  return `${key}\n${model}`;
}

function emptyGroup(first: NewReservation): Group {
  return { first, amountNanoUsd: 0n, tokens: 0n, members: noMembers() };
}

function addMember(group: Group, reservation: NewReservation, ordinal: number): void {
  const { members } = group;
  const tokens = reservation.promptTokensMax + reservation.completionTokensMax;
  group.amountNanoUsd += reservation.amountNanoUsd;
  group.tokens += tokens;
  members.ordinals.push(ordinal);
  members.ids.push(reservation.id);
  members.request_ids.push(reservation.requestId);
  members.amounts.push(reservation.amountNanoUsd.toString());
  members.prompt_tokens_maxes.push(reservation.promptTokensMax.toString());
  members.tokens.push(tokens.toString());
  members.deadlines.push(reservation.deadlineAt.toISOString());
  members.idempotency_hashes.push(reservation.idempotency?.keyHash ?? null);
  members.body_hashes.push(reservation.idempotency?.bodyHash ?? null);
}

function toSharedRow(group: Group, windows: WindowList): object {
  const { first } = group;
  const { rateWindows } = first;
  return {
    organization_id: first.organizationId,
    api_key_id: first.apiKeyId,
    api_key_epoch: first.apiKeyEpoch.toString(),
    governance_epoch: first.governanceEpoch.toString(),
    actor_id: first.actorId,
    team_id: first.teamId,
    project_id: first.projectId,
    provider: first.provider,
    model: first.model,
    route: first.route,
    price_version: first.priceVersion,
    node_id: first.nodeId,
    window_ids: [...first.windows, ...first.softWindows].map(({ id }) => id),
    rate_window_ids: rateWindows.length === 0 ? null : rateWindows.map(({ id }) => id),
    rate_units: rateWindows.length === 0 ? null : rateWindows.map(({ unit }) => unit),
    window_ordinals: [...askHard(group, windows), ...askRates(group, windows)],
    soft_ordinals: askSoft(group, windows),
  };
}

function askHard({ first, amountNanoUsd: asked }: Group, list: WindowList): readonly number[] {
  return first.windows.map((window) =>
    list.ask({ ...window, isBinding: true, asked }, first.organizationId),
  );
}

function askSoft({ first, amountNanoUsd: asked }: Group, list: WindowList): readonly number[] {
  return first.softWindows.map((window) =>
    list.ask({ ...window, isBinding: false, asked }, first.organizationId),
  );
}

function askRates({ first, tokens, members }: Group, list: WindowList): readonly number[] {
  const calls = BigInt(members.ids.length);
  return first.rateWindows.map((window) =>
    list.ask(
      { ...window, isBinding: true, asked: window.unit === "tokens" ? tokens : calls },
      first.organizationId,
    ),
  );
}

function noMembers(): Members {
  return {
    ordinals: [],
    ids: [],
    request_ids: [],
    amounts: [],
    prompt_tokens_maxes: [],
    tokens: [],
    deadlines: [],
    idempotency_hashes: [],
    body_hashes: [],
  };
}
