/**
 * What the outside may ask: is the process there (`/health`), does its event loop turn (`/live`),
 * should it get traffic (`/ready`). The first two do no I/O at all.
 */
import type { Clock } from "../clock.ts";
import type { build as Build } from "../config.ts";
import { createReadiness, type ReadinessCheck } from "./readiness.ts";

export type Health = {
  health(): Response;
  live(): Response;
  ready(): Promise<Response>;
  stop(): void;
};

/** A loop that stood still longer than this counts as dead. */
const BLOCKED_MAX_MS = 10_000;
const HEARTBEAT_MS = 500;

export function createHealth(options: {
  clock: Clock;
  build: typeof Build;
  checks: readonly ReadinessCheck[];
}): Health {
  const { clock, build, checks } = options;
  const readReadiness = createReadiness(checks, clock);
  const startedMs = clock.monotonicMs();
  let beatMs = startedMs;
  const heartbeat = setInterval(() => {
    beatMs = clock.monotonicMs();
  }, HEARTBEAT_MS);
  heartbeat.unref();
  return {
    health() {
      const uptimeSeconds = Math.floor((clock.monotonicMs() - startedMs) / 1000);
      return answer(200, { status: "ok", ...build, uptimeSeconds });
    },
    live() {
      const blockedMs = clock.monotonicMs() - beatMs;
      const isAlive = blockedMs < BLOCKED_MAX_MS;
      return answer(isAlive ? 200 : 503, { status: isAlive ? "live" : "blocked" });
    },
    async ready() {
      const report = await readReadiness();
      return answer(report.status === "ready" ? 200 : 503, report);
    },
    stop() {
      clearInterval(heartbeat);
    },
  };
}

function answer(status: number, body: object): Response {
  return Response.json(body, { status, headers: { "cache-control": "no-store" } });
}
