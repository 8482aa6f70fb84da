/** The driver that is installed is the mended one; the unmended one ends or wedges a node. */
import { expect, test } from "bun:test";
import { isDriverMended } from "../appliance/patch-driver.ts";

test("the database driver is mended", async () => {
  expect(await isDriverMended()).toBe(true);
});
