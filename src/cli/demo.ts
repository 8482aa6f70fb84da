import { systemClock } from "../clock.ts";
import { readFlags } from "./arguments.ts";
import type { Command, ExitCode } from "./command.ts";
import { describeForProgram, makeDemoCall } from "./demo-call.ts";
import { type DemoTools, startDemo } from "./demo-node.ts";
import { openProgress } from "./demo-progress.ts";
import { describeCall, describeWayOn } from "./demo-report.ts";
import { type DemoSettings, readDemoSettings } from "./demo-settings.ts";
import { callLoopbackDirectly } from "./loopback.ts";
import { stopSignal } from "./stop-signal.ts";
import { styleFor } from "./terminal.ts";

type DemoFlag = "json" | "once" | "verbose";

export const demo: Command = {
  name: "demo",
  summary: "show one governed call from reservation to ledger, then keep serving",
  help: `usage: spendra demo [--json] [--once] [--verbose]

Brings up a private PostgreSQL, founds the company Acme with a key, two hard caps and an
administrator, starts a gateway on 127.0.0.1, and sends one streamed call through it with
OpenAI's own client. Says what was reserved, spent and booked, and serves until Ctrl-C.
Then everything is stopped, and what was private and temporary is removed.

  --json     one JSON line on standard output once ready: baseUrl, apiKey, dashboardUrl,
             docsUrl, adminEmail, adminPassword, databaseUrl, requestId, reservationId,
             ledgerEntryId, costUsd
  --once     stop after the call
  --verbose  show the gateway's whole log on standard error; without it only warnings

Progress goes to standard error. From the environment:

  PORT                    where to listen (8080); 0 takes a free port
  DATABASE_URL            use this PostgreSQL instead: it is migrated, a new Acme is founded
                          in it, and it is left as it is at the end
  SPENDRA_ENCRYPTION_KEY  of that database. Without it the demo makes one and keeps it below
                          \${XDG_STATE_HOME:-~/.local/state}/spendra for its next run there
  OPENAI_API_KEY          call OpenAI itself; without it a simulator plays OpenAI
  OPENAI_BASE_URL         where OpenAI is (https://api.openai.com/v1)
  NO_COLOR                no colours`,
  run: async (args) => {
    const flags = readFlags(args, ["json", "once", "verbose"]);
    return await runDemo(flags, readDemoSettings());
  },
};

async function runDemo(flags: ReadonlySet<DemoFlag>, settings: DemoSettings): Promise<ExitCode> {
  callLoopbackDirectly();
  const stopped = new AbortController();
  const stopping = stopSignal().then(() => {
    stopped.abort(new Error("stopped before it was ready"));
  });
  const { signal } = stopped;
  const stack = new AsyncDisposableStack();
  const tools: DemoTools = {
    stack,
    progress: openProgress(process.stderr, {
      style: styleFor(process.stderr),
      clock: systemClock,
      signal,
    }),
    isVerbose: flags.has("verbose"),
  };
  let isReady = false;
  try {
    await showCall(flags, settings, tools, signal);
    isReady = true;
    if (!flags.has("once")) {
      await stopping;
    }
    return 0;
  } catch (error) {
    // What broke off because of Ctrl-C is not a failure to explain.
    signal.throwIfAborted();
    throw error;
  } finally {
    await stopEverything(stack, isReady);
  }
}

async function showCall(
  flags: ReadonlySet<DemoFlag>,
  settings: DemoSettings,
  tools: DemoTools,
  signal: AbortSignal,
): Promise<void> {
  const running = await startDemo(settings, tools);
  const call = await tools.progress.step(
    `one streamed call, answered by ${running.providerName}`,
    () => makeDemoCall(running, signal),
  );
  if (flags.has("json")) {
    console.log(describeForProgram(running, call));
    return;
  }
  const style = styleFor(process.stdout);
  console.log(describeCall(running, call, style));
  if (!flags.has("once")) {
    console.log(describeWayOn(running, call.model, style));
  }
}

/** A part that does not stop must not hide why the demo failed. */
async function stopEverything(stack: AsyncDisposableStack, isReady: boolean): Promise<void> {
  try {
    await stack.disposeAsync();
  } catch (error) {
    if (isReady) {
      throw error;
    }
  }
}
