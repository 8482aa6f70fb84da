/** An address that cannot be listened on, named by its setting and with the way to mend it. */
import type { ListenAddress } from "../config.ts";

/** The address of a setting is not one for this machine or this account. */
export class ListenError extends Error {
  override readonly name = "ListenError";

  constructor(setting: string, { host, port }: ListenAddress, reason: string) {
    super(`${setting} ${host}:${port} cannot be listened on: ${reason}`);
  }
}

/** An address that is taken is not among them: who looks for a free one needs the system's code. */
const reasons: ReadonlyMap<unknown, string> = new Map([
  ["EADDRNOTAVAIL", "this machine has no such address; 0.0.0.0 means all that it has"],
  ["EACCES", "this account may not; ports below 1024 need CAP_NET_BIND_SERVICE"],
  ["ENOTFOUND", "no such host"],
]);

/** Opens a listener. Throws `ListenError`, or what the system said. */
export function openListener<Listener>(
  setting: string,
  listen: ListenAddress,
  open: () => Listener,
): Listener {
  try {
    return open();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const reason = reasons.get(code);
    throw reason === undefined ? error : new ListenError(setting, listen, reason);
  }
}
