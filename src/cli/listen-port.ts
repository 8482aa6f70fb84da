/** Whether an address could be listened on at this moment. */
import { createServer } from "node:net";
import { errorCodeOf } from "../database/sqlstate.ts";

/** `free`, or why not: in use, not allowed to this account, or no address of this host. */
export type PortState = "free" | "taken" | "forbidden" | "foreign";

/** Listens for an instant. Port 0 answers a free one. Rejects for any other reason. */
export function probePort(host: string, port: number): Promise<{ state: PortState; port: number }> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (error) => {
      const state = states.get(errorCodeOf(error) ?? "");
      if (state === undefined) {
        reject(error);
      } else {
        resolve({ state, port });
      }
    });
    probe.listen(port, host, () => {
      const address = probe.address();
      const bound = typeof address === "object" && address !== null ? address.port : port;
      probe.close(() => resolve({ state: "free", port: bound }));
    });
  });
}

const states: ReadonlyMap<string, PortState> = new Map([
  ["EADDRINUSE", "taken"],
  ["EACCES", "forbidden"],
  ["EADDRNOTAVAIL", "foreign"],
  ["ENOTFOUND", "foreign"],
]);
