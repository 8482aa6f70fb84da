import { startApp } from "../app.ts";
import { readConfig } from "../config.ts";
import { openLog } from "../log.ts";
import { readFlags } from "./arguments.ts";
import type { Command } from "./command.ts";
import { raiseHttpLimit } from "./http-limit.ts";
import { stopSignal } from "./stop-signal.ts";
import { catchUnforeseen } from "./unforeseen.ts";

export const serve: Command = {
  name: "serve",
  summary: "run the gateway, the management API, the dashboard and the scheduler",
  help: `usage: spendra serve

Serves until SIGTERM or SIGINT, then takes no new calls, lets running ones finish and
settle, and exits with 0. Logs are JSON lines on standard output.

Refuses to start when a setting is missing or wrong, when the database is not at this
build's schema (run \`spendra migrate\` first), or when the encryption key is not the one
that the database was set up with. Every mistake is named at once.

Settings come from the environment, from files named by NAME_FILE, or from systemd
credentials. Needed: DATABASE_URL, SPENDRA_ENCRYPTION_KEY, SPENDRA_METRICS_BEARER_TOKEN.
All of them: docs/reference/configuration.md.`,
  run: async (args) => {
    readFlags(args, []);
    raiseHttpLimit();
    const config = readConfig();
    const log = openLog(config.logLevel);
    catchUnforeseen(log);
    const stopping = stopSignal();
    const app = await startApp(config, log);
    await stopping;
    await app.stop();
    return 0;
  },
};
