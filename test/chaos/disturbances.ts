/** What goes wrong, one thing after the other, in an order that the seed decides. */
import type { Sql } from "../../src/database/client.ts";
import type { DisturbedPostgres } from "./disturbed-postgres.ts";
import type { Random } from "./random.ts";
import type { SupervisedNode } from "./supervised-node.ts";

export type Scene = {
  readonly postgres: DisturbedPostgres;
  readonly nodes: readonly SupervisedNode[];
  readonly sql: Sql;
  readonly random: Random;
};

/** The sweeper comes every 15 seconds. */
const SWEEP_POLL_MS = 250;
const SWEEP_POLLS_MAX = 80;

type Disturbance = { readonly name: string; readonly weight: number; run(): Promise<void> };

/** Runs until told to stop; everything is well again when it resolves. */
export async function disturb(
  scene: Scene,
  isOver: () => boolean,
  onEvent: (name: string) => void,
): Promise<void> {
  const { random } = scene;
  const all = disturbances(scene);
  const weights = all.reduce((sum, { weight }) => sum + weight, 0);
  while (!isOver()) {
    await restWhile(() => !isOver(), random.between(300, 2_500));
    if (isOver()) break;
    let dice = random.between(1, weights);
    const chosen = all.find(({ weight }) => {
      dice -= weight;
      return dice <= 0;
    });
    onEvent(chosen?.name ?? "");
    await chosen?.run();
  }
  for (const node of scene.nodes) {
    node.thaw();
    node.letUp();
  }
  await scene.postgres.heal();
}

function disturbances({ postgres, nodes, sql, random }: Scene): Disturbance[] {
  const anyNode = () => nodes[random.between(0, nodes.length - 1)];
  const away = (mostMs: number) => Bun.sleep(random.between(200, mostMs));
  const stopAndStart = async (how: "fast" | "immediate", kills: boolean) => {
    await postgres.stop(how);
    await away(3_000);
    if (kills) anyNode()?.kill();
    await postgres.restart();
  };
  const freeze = async (leastMs: number, mostMs: number, kills: boolean) => {
    await postgres.freeze();
    await Bun.sleep(random.between(leastMs, mostMs));
    if (kills) anyNode()?.kill();
    postgres.thaw();
  };
  /**
   * A node dies with settlements on its disk and stays down for so long that the sweeper of another
   * books the bounds. When it comes back, the truth takes their place.
   */
  const outlast = async () => {
    const node = anyNode();
    await postgres.freeze();
    await Bun.sleep(random.between(700, 2_000));
    node?.holdDown();
    postgres.thaw();
    await passDeadlines(sql);
    await waitForSweep(sql);
    node?.letUp();
  };
  return [
    { name: "outlast the deadlines of a dead node", weight: 12, run: outlast },
    { name: "let all deadlines pass", weight: 10, run: () => passDeadlines(sql) },
    { name: "kill a node", weight: 30, run: async () => anyNode()?.kill() },
    {
      name: "kill all nodes",
      weight: 5,
      run: async () => {
        for (const node of nodes) node.kill();
      },
    },
    { name: "stop PostgreSQL", weight: 10, run: () => stopAndStart("fast", false) },
    { name: "crash PostgreSQL", weight: 10, run: () => stopAndStart("immediate", false) },
    {
      name: "crash PostgreSQL, kill a node",
      weight: 8,
      run: () => stopAndStart("immediate", true),
    },
    { name: "freeze PostgreSQL briefly", weight: 12, run: () => freeze(200, 1_500, false) },
    { name: "freeze PostgreSQL", weight: 5, run: () => freeze(1_500, 5_000, false) },
    // Longer than the writer waits for any answer: it gives the connection up.
    { name: "freeze PostgreSQL for long", weight: 4, run: () => freeze(7_500, 9_000, false) },
    { name: "freeze PostgreSQL, kill a node", weight: 6, run: () => freeze(600, 3_000, true) },
    { name: "end all sessions", weight: 10, run: () => endSessions(sql) },
    {
      name: "freeze a node",
      weight: 6,
      run: async () => {
        const node = anyNode();
        node?.freeze();
        await away(2_500);
        node?.thaw();
      },
    },
  ];
}

/** As if there had been no heartbeat for minutes; calls that still run are swept as well. */
async function passDeadlines(sql: Sql): Promise<void> {
  await sql`
    update reservations set deadline_at = now() - interval '1 second' where status = 'held'
  `.catch(() => []);
}

async function waitForSweep(sql: Sql): Promise<void> {
  for (let poll = 0; poll < SWEEP_POLLS_MAX; poll++) {
    const due = await sql`
      select from reservations where status = 'held' and deadline_at < now() limit 1
    `.catch(() => []);
    if (due.length === 0) return;
    await Bun.sleep(SWEEP_POLL_MS);
  }
}

async function endSessions(sql: Sql): Promise<void> {
  await sql`
    select pg_terminate_backend(pid)
    from pg_stat_activity
    where application_name like 'spendra%' and pid <> pg_backend_pid()
  `.catch(() => []);
}

async function restWhile(isOn: () => boolean, durationMs: number): Promise<void> {
  const endMs = performance.now() + durationMs;
  while (isOn() && performance.now() < endMs) await Bun.sleep(50);
}
