/** Lets a hold go because nothing was bought: the provider refused, or was never reached. */
import type { Clock } from "../clock.ts";
import type { RequestRecord } from "./reservation.ts";
import type { HeldReservation } from "./reserve.ts";
import type { Writer } from "./writer.ts";

/** Resolves once the room is free again in every window. */
export async function release(
  writer: Writer,
  clock: Clock,
  held: HeldReservation,
  request: RequestRecord | null,
): Promise<void> {
  await writer.close(
    {
      status: "released",
      organizationId: held.organizationId,
      reservationId: held.id,
      provider: held.provider,
      windowIds: held.windowIds,
      occurredAt: clock.now(),
    },
    request,
  );
}
