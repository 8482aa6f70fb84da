/**
 * Watches every write to a window: whoever holds more than there is room for is noted by the
 * database itself, so that "no cap was passed" holds for every moment and not for the last one.
 */
import type { Sql } from "../../src/database/client.ts";

export type CapBreach = { windowId: string; excessNanoUsd: bigint };

export async function watchCaps(sql: Sql): Promise<void> {
  await sql`create table cap_breaches (window_id text, excess_nano_usd bigint)`;
  await sql`
    create function note_breach() returns trigger language plpgsql as $$
    begin
      insert into cap_breaches
      values (new.id, new.held_nano_usd + new.settled_nano_usd - new.limit_nano_usd);
      return null;
    end
    $$
  `;
  // A cap may be lowered below what is held, and a cost above its hold is booked in full; but
  // nothing more may be held then.
  await sql`
    create trigger cap_watch after update on budget_windows for each row
    when (
      new.held_nano_usd > old.held_nano_usd
      and new.held_nano_usd + new.settled_nano_usd > new.limit_nano_usd
    )
    execute function note_breach()
  `;
}

export async function capBreaches(sql: Sql): Promise<readonly CapBreach[]> {
  return await sql<CapBreach[]>`
    select window_id as "windowId", excess_nano_usd as "excessNanoUsd" from cap_breaches limit 5
  `;
}
