/** Proof 3: each row of `usage_daily` is the sum of the spend events of its day and key. */
import { formatUsd } from "../money.ts";
import { type Difference, distance, type Proving } from "./difference.ts";
import { type UsageDifferenceRow, usageCount, usageDifferences } from "./proof-queries.ts";

/** Answers how many rows of daily usage there are. */
export async function verifyUsage({ sql, organizationId, differences }: Proving): Promise<bigint> {
  const rows = await usageDifferences(sql, organizationId);
  differences.addAll(
    rows.map((row) => toDifference(row, organizationId)),
    {
      count: rows[0]?.total_count ?? 0n,
      driftNanoUsd: rows[0]?.total_drift_nano_usd ?? 0n,
    },
  );
  return await usageCount(sql, organizationId);
}

function toDifference(row: UsageDifferenceRow, organizationId: string): Difference {
  const subject = `${row.usage_on} ${row.api_key_id} ${row.model} ${row.usage_source}`;
  return {
    proof: "usage",
    organizationId,
    code: "usage_daily_differs",
    subject,
    detail:
      `daily usage of ${subject}: ${row.daily_calls} calls, ${row.daily_tokens} tokens, ` +
      `$${formatUsd(row.daily_nano_usd)}; its spend events: ${row.event_calls} calls, ` +
      `${row.event_tokens} tokens, $${formatUsd(row.event_nano_usd)}`,
    driftNanoUsd: distance(row.daily_nano_usd, row.event_nano_usd),
  };
}
