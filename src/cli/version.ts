import { build } from "../config.ts";
import { readFlags } from "./arguments.ts";
import type { Command } from "./command.ts";

export const version: Command = {
  name: "version",
  summary: "print version, commit and runtime",
  help: `usage: spendra version [--json]

Prints the version, the commit it was built from and the Bun it runs on.

  --json  one JSON line`,
  run: async (args) => {
    const flags = readFlags(args, ["json"]);
    const facts = { ...build, bun: Bun.version };
    console.log(
      flags.has("json")
        ? JSON.stringify(facts)
        : `spendra ${facts.version} (commit ${facts.commit}, Bun ${facts.bun})`,
    );
    return 0;
  },
};
