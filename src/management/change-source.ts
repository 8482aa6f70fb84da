/** What the audit log says of a request, besides who sent it. */
import type { ChangeSource } from "../audit/audit-event.ts";
import type { Exchange } from "./endpoint.ts";

export function changeSourceOf({ clientAddress, request }: Exchange): ChangeSource {
  return { clientAddress, userAgent: request.headers.get("user-agent") };
}
