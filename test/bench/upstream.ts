/** The provider of the bench: the repository's simulator in a process of its own. */
import { startProviderSimulator } from "../../src/cli/provider-simulator.ts";

const [port, delayMs] = process.argv.slice(2).map(Number);
const simulator = startProviderSimulator({ port: port ?? 0, delayMs: delayMs ?? 0 });
process.once("SIGTERM", () => {
  const exit = (): never => process.exit(0);
  simulator.stop().then(exit, exit);
});
