/** SQL of counting what policies in shadow would have done. */
import type { Sql } from "../database/client.ts";

/** What one policy says to calls of one day. */
export type ShadowCount = {
  organizationId: string;
  policyId: string;
  /** UTC, `YYYY-MM-DD`. */
  countedOn: string;
  /** Of a cap or rate limit: it would have refused when this window is over its limit now. */
  windowId: string | null;
  calls: number;
  /** Of the other kinds. */
  refusals: number;
};

export async function shadowCountsAdd(sql: Sql, counts: readonly ShadowCount[]): Promise<void> {
  await sql`
    -- name: policy_shadow_days.add
    insert into policy_shadow_days as d (
      organization_id, policy_id, counted_on, calls, refusals
    )
    select
      c.organization_id, c.policy_id, c.counted_on, sum(c.calls),
      sum(
        case
          when b.settled_nano_usd + b.held_nano_usd > b.limit_nano_usd then c.calls
          when w.used_units + w.held_units > (p.settings ->> 'limit')::bigint then c.calls
          else c.refusals
        end
      )
    from unnest(
      ${counts.map(({ organizationId }) => organizationId)}::text[],
      ${counts.map(({ policyId }) => policyId)}::text[],
      ${counts.map(({ countedOn }) => countedOn)}::text[]::date[],
      ${counts.map(({ windowId }) => windowId)}::text[],
      ${counts.map(({ calls }) => calls)}::int[],
      ${counts.map(({ refusals }) => refusals)}::int[]
    ) as c(organization_id, policy_id, counted_on, window_id, calls, refusals)
    join policies p on p.organization_id = c.organization_id and p.id = c.policy_id
    left join budget_windows b on b.organization_id = c.organization_id and b.id = c.window_id
    left join rate_windows w on w.organization_id = c.organization_id and w.id = c.window_id
    group by c.organization_id, c.policy_id, c.counted_on
    -- One order over all nodes.
    order by c.organization_id, c.policy_id, c.counted_on
    on conflict on constraint policy_shadow_days_pkey do update
    set calls = d.calls + excluded.calls, refusals = d.refusals + excluded.refusals
  `;
}
