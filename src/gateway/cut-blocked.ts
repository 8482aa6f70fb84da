/**
 * Ends running streams of what was blocked, or of a key that was revoked, where that was asked for.
 * Each node looks for itself what is blocked now, instead of waiting to be told: so nothing is
 * missed while a connection is lost, and a stream that began in the same instant is found as well.
 */
import type { Clock } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import { isTransient } from "../database/sqlstate.ts";
import { PublicError } from "../errors.ts";
import { blocksCutting, type CuttingBlock } from "../keys/block-queries.ts";
import { blockedError, covers } from "../keys/refuse-blocked.ts";
import type { Log } from "../log.ts";
import type { RunningCalls, RunningStream } from "./running-calls.ts";

/** With the question itself and the booking, a stream has ended within a second. */
const LOOK_MS = 400;

type Parts = {
  readonly sql: Sql;
  readonly running: RunningCalls;
  readonly clock: Clock;
  readonly log: Log;
};

/** Never rejects. Asks the database nothing while no stream is running. */
export function cutBlockedStreams(parts: Parts): { stop(): Promise<void> } {
  let looking: Promise<void> = Promise.resolve();
  let isBusy = false;
  const timer = setInterval(() => {
    // A database that is slow is not asked twice at once.
    if (isBusy || parts.running.streams.length === 0) {
      return;
    }
    isBusy = true;
    looking = look(parts)
      .catch((error: unknown) => {
        // One that is out of reach is reported by whoever needs it.
        if (!isTransient(error)) {
          parts.log.error("gateway.cut_failed", { error });
        }
      })
      .finally(() => {
        isBusy = false;
      });
  }, LOOK_MS);
  return {
    stop: async () => {
      clearInterval(timer);
      await looking;
    },
  };
}

async function look({ sql, running, clock }: Parts): Promise<void> {
  const organizationIds = new Set(running.streams.map(organizationOf).filter((id) => id !== null));
  const cutting = await blocksCutting(sql, [...organizationIds], clock.now());
  if (cutting.length === 0) {
    return;
  }
  // Asked for again, because streams have begun and ended meanwhile.
  for (const stream of running.streams) {
    const found = cutting.find((candidate) => isCutBy(stream, candidate));
    if (found !== undefined) {
      stream.cut(found.block === null ? new PublicError("key_revoked") : blockedError(found.block));
    }
  }
}

function organizationOf({ call }: RunningStream): string | null {
  return call.authority?.organizationId ?? null;
}

function isCutBy(stream: RunningStream, { organizationId, target }: CuttingBlock): boolean {
  const { authority, provider, model } = stream.call;
  if (authority === null || authority.organizationId !== organizationId) {
    return false;
  }
  const destination = provider === null || model === null ? null : { provider, model };
  return covers(target, authority.scopes, destination);
}
