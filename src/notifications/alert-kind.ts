/** What alerts there are, and what a cause of one looks like. */

export const ALERT_KINDS = [
  "budget_half_used",
  "budget_mostly_used",
  "soft_cap_reached",
  "hard_cap_reached",
  "budget_forecast",
  "overage",
  "reservations_stuck",
  "ledger_drift",
  "spool_backlog",
  "spool_filling",
  "settlement_dead_letters",
] as const;

export const ALERT_SEVERITIES = ["warning", "critical"] as const;

export type AlertKind = (typeof ALERT_KINDS)[number];
export type AlertSeverity = (typeof ALERT_SEVERITIES)[number];

/** Ids, names that people gave, counts, and amounts as decimal strings of dollars: no secrets. */
export type AlertDetails = Readonly<Record<string, string | number | null>>;

/** A cause that is there now. At most one for each organization, kind and subject. */
export type Finding = {
  /** Null for what concerns the whole installation. */
  readonly organizationId: string | null;
  readonly kind: AlertKind;
  readonly severity: AlertSeverity;
  /** What it is about: the id of a budget, of a node, ... */
  readonly subject: string;
  /** One sentence for a person. */
  readonly summary: string;
  readonly details: AlertDetails;
};
