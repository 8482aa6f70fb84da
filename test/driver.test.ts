/** The driver that is installed is the mended one; the unmended one ends or wedges a node. */
import { expect, test } from "bun:test";
import { isDriverMended } from "../appliance/patch-driver.ts";
import { connect } from "../src/database/client.ts";
import { inTransaction } from "../src/database/transaction.ts";
import { emptyDatabase } from "./postgres.ts";
import { openTcpProxy } from "./tcp-proxy.ts";

test("the database driver is mended", async () => {
  expect(await isDriverMended()).toBe(true);
});

test("whoever asks while the database is away is refused or answered, not forgotten", async () => {
  const database = await emptyDatabase();
  const proxy = await openTcpProxy(database.url);
  const sql = connect(proxy.url, { connectionsMax: 1, applicationName: "test" });
  const ask = async (): Promise<string> =>
    await inTransaction(sql, async (transaction) => await transaction`select 1`).then(
      () => "answered",
      () => "refused",
    );
  await proxy.cut();
  const asked = Array.from({ length: 5 }, () => ask());
  expect([await asked[0], await asked[1]]).toEqual(["refused", "refused"]);
  await proxy.restore();
  // The third was the reason to connect again when the database came back.
  expect(await Promise.all(asked.slice(2))).toEqual(["answered", "answered", "answered"]);
  // And none of them keeps the one connection that there is.
  expect(await ask()).toBe("answered");
  await sql.end();
  await proxy.stop();
  await database.drop();
});
