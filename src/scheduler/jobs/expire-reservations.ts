/** Ends reservations whose deadline has passed and books what they may have cost. */
import { expireDue } from "../../reservations/expire.ts";
import type { Job } from "../job.ts";

export const expireReservations: Job = {
  name: "expire_reservations",
  pattern: "*/15 * * * * *",
  timeoutMs: 60_000,
  run: ({ sql, writer, clock }) => expireDue(sql, writer, clock),
};
