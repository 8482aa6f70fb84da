/** The gateway's requests, granted and refused, newest first. Neither prompt nor completion. */
import type { Queryable } from "../database/client.ts";

export type RequestRow = {
  id: string;
  received_at: Date;
  received_at_us: bigint;
  route: string;
  api_key_id: string;
  actor_id: string | null;
  provider: string | null;
  model: string | null;
  is_streaming: boolean;
  policy_result: string;
  status: number;
  error_code: string | null;
  reservation_id: string | null;
  duration_ms: number;
};

/**
 * `actorIds` null means every actor's. `before.at` is a timestamptz as text, or `infinity`: sent as
 * text, because the driver would cut a time to milliseconds.
 */
export async function requestList(
  sql: Queryable,
  page: {
    organizationId: string;
    actorIds: readonly string[] | null;
    before: { at: string; id: string };
    limit: number;
  },
): Promise<readonly RequestRow[]> {
  return await sql<RequestRow[]>`
    -- name: gateway_requests.list
    select
      id, received_at, (extract(epoch from received_at) * 1000000)::bigint as received_at_us,
      route, api_key_id, actor_id, provider, model, is_streaming, policy_result, status,
      error_code, reservation_id, duration_ms
    from gateway_requests
    where organization_id = ${page.organizationId}
      and (received_at, id) < (${page.before.at}::text::timestamptz, ${page.before.id})
      and (${page.actorIds}::text[] is null or actor_id = any(${page.actorIds}::text[]))
    order by received_at desc, id desc
    limit ${page.limit}
  `;
}
