/** The gateway's requests, granted and refused, newest first. Neither prompt nor completion. */
import type { Queryable } from "../database/client.ts";

export type RequestRow = {
  id: string;
  received_at: Date;
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

/** `actorIds` null means every actor's. By id: ids sort by the time they were made. */
export async function requestList(
  sql: Queryable,
  page: {
    organizationId: string;
    actorIds: readonly string[] | null;
    beforeId: string;
    limit: number;
  },
): Promise<readonly RequestRow[]> {
  return await sql<RequestRow[]>`
    -- name: gateway_requests.list
    select
      id, received_at, route, api_key_id, actor_id, provider, model, is_streaming, policy_result,
      status, error_code, reservation_id, duration_ms
    from gateway_requests
    where organization_id = ${page.organizationId}
      and id < ${page.beforeId}
      and (${page.actorIds}::text[] is null or actor_id = any(${page.actorIds}::text[]))
    order by id desc
    limit ${page.limit}
  `;
}
