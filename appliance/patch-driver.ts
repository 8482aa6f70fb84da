/**
 * Mends the PostgreSQL driver after it was installed (`postgres` 3.4.9, the newest release): when a
 * connection breaks while something is about to be written to it, the driver writes to a socket
 * that is gone, which ends the process, or keeps what was waiting and never writes again, which
 * wedges the connection. Upstream knows both (its issues 1168 and 1208). And whoever waits for a
 * connection of their own while the database is away is forgotten when it is back. Run by
 * with-bun.sh; a test and the build refuse a driver that is not mended.
 *
 * To be deleted with the first release that has the fix: the replacements then no longer match and
 * say so.
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";

const DRIVER = resolve(import.meta.dir, "..", "node_modules", "postgres", "src");
const MARK = "// Mended by Spendra: appliance/patch-driver.ts\n";

type Replacement = { readonly before: string; readonly after: string };

const connectionReplacements: readonly Replacement[] = [
  {
    // A statement for a connection that has closed is refused instead of being written.
    before: `    if (stream)
      return queryError(q, Errors.generic('COPY_IN_PROGRESS',`,
    after: `    if (socket === null) {
      queryError(q, Errors.connection('CONNECTION_CLOSED', options))
      return true
    }

    if (stream)
      return queryError(q, Errors.generic('COPY_IN_PROGRESS',`,
  },
  {
    before: "    const x = socket.write(chunk, fn)\n",
    after: "    const x = socket === null || chunk === null || socket.write(chunk, fn)\n",
  },
  {
    // Both where it is ended by us and where it broke: nothing waits to be written any more.
    before: "    clearImmediate(nextWriteTimer)\n",
    after: "    clearImmediate(nextWriteTimer)\n    chunk = nextWriteTimer = null\n",
  },
  {
    // Nobody waits for the array types, so their failure would end the process.
    before: "        return fetchArrayTypes()\n",
    after: "        return fetchArrayTypes().catch(() => {})\n",
  },
];

const poolReplacements: readonly Replacement[] = [
  {
    // Whoever waits for a connection stays in the queue until it has one or is refused.
    before: "    queries.length && connect(c, queries.shift())\n",
    after: `    if (queries.length) {
      const query = queries.shift()
      query.reserve && queries.push(query)
      connect(c, query)
    }
`,
  },
  {
    before: "        const query = { reserve: resolve, reject }\n",
    after: `        const query = { reserve: resolve, reject: x => {
          queries.remove(query)
          reject(x)
        } }
`,
  },
];

/** The last is the one that with-bun.sh looks at. */
const files: readonly { readonly name: string; readonly replacements: readonly Replacement[] }[] = [
  { name: "connection.js", replacements: connectionReplacements },
  { name: "index.js", replacements: poolReplacements },
];

/** Whether the installed driver is mended. */
export async function isDriverMended(): Promise<boolean> {
  const areMended = await Promise.all(files.map(({ name }) => isMended(join(DRIVER, name))));
  return areMended.every(Boolean);
}

async function isMended(path: string): Promise<boolean> {
  return (await readFile(path, "utf8")).startsWith(MARK);
}

/** Mends the installed driver; mending it twice changes nothing. Throws when it is another one. */
async function mendDriver(): Promise<void> {
  for (const { name, replacements } of files) {
    await mendFile(join(DRIVER, name), replacements);
  }
}

async function mendFile(path: string, replacements: readonly Replacement[]): Promise<void> {
  if (await isMended(path)) {
    return;
  }
  let source = await readFile(path, "utf8");
  for (const { before, after } of replacements) {
    if (!source.includes(before)) {
      throw new Error(`the driver has changed, see appliance/patch-driver.ts: no ${before.trim()}`);
    }
    source = source.replaceAll(before, after);
  }
  // Renamed into place: a program that is starting reads the old file or the new one.
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, MARK + source);
  await rename(draft, path);
}

if (import.meta.main) {
  await mendDriver();
}
