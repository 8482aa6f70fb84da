import { randomBytes } from "node:crypto";
import { systemClock } from "../clock.ts";
import { readConfig } from "../config.ts";
import type { Sql } from "../database/client.ts";
import { connectEitherWay } from "../database/pooler.ts";
import { requireCurrentSchema } from "../database/schema-check.ts";
import { deriveKeyHmacKey } from "../keys/token.ts";
import { checkCanary, placeCanary } from "../operations/encryption-canary.ts";
import type { Secret } from "../secret.ts";
import { readFlags } from "./arguments.ts";
import { type Command, UsageError } from "./command.ts";
import { type DemoCompany, foundDemoCompany } from "./demo-company.ts";

const OPENAI_BASE_URL = "https://api.openai.com/v1";
const ADMIN_EMAIL = "admin@acme.example";
const PASSWORD_BYTES = 18;

/** There is something in the database already. */
class NotEmptyError extends Error {
  override readonly name = "NotEmptyError";
}

export const seed: Command = {
  name: "seed",
  summary: "put demo data into an empty installation (two flags needed)",
  help: `usage: spendra seed --demo-data --not-production [--json]

Creates the organization "Acme" of the demo: a team, a project, an employee, an agent, two
hard caps, a key and an administrator. Only in a database that has no organization yet, and
only with both flags, so that demo data never gets into a real installation by mistake.
Needs the same settings as \`spendra serve\`.

  --demo-data       say that demo data is wanted
  --not-production  say that this installation is not for production
  --json            one JSON line: {"organizationId", "apiKey", "adminEmail", "adminPassword"}`,
  run: async (args) => {
    const flags = readFlags(args, ["demo-data", "not-production", "json"]);
    if (!flags.has("demo-data") || !flags.has("not-production")) {
      throw new UsageError("demo data needs both flags, --demo-data and --not-production");
    }
    const config = readConfig();
    const sql = await connectEitherWay(config.databaseUrl.reveal(), {
      connectionsMax: 1,
      applicationName: "spendra seed",
    });
    try {
      const password = randomBytes(PASSWORD_BYTES).toString("base64url");
      const company = await seedFirst(sql, config.encryptionKey, password);
      report(company, password, flags.has("json"));
      return 0;
    } finally {
      await sql.end();
    }
  },
};

async function seedFirst(sql: Sql, encryptionKey: Secret, password: string): Promise<DemoCompany> {
  const now = systemClock.now();
  await requireCurrentSchema(sql);
  const existing = await sql`
    -- name: organizations.any
    select from organizations limit 1
  `;
  if (existing.length > 0) {
    throw new NotEmptyError(
      "the database has an organization already: demo data is for a first installation only",
    );
  }
  await placeCanary(sql, encryptionKey, now);
  await checkCanary(sql, encryptionKey);
  return await foundDemoCompany(sql, {
    openAiBaseUrl: OPENAI_BASE_URL,
    hmacKey: deriveKeyHmacKey(encryptionKey),
    admin: { email: ADMIN_EMAIL, password },
    now,
  });
}

function report(company: DemoCompany, adminPassword: string, asJson: boolean): void {
  const { organizationId, token: apiKey } = company;
  if (asJson) {
    const facts = { organizationId, apiKey, adminEmail: ADMIN_EMAIL, adminPassword };
    console.log(JSON.stringify(facts));
    return;
  }
  console.log(
    [
      `created the organization Acme (${organizationId})`,
      `  API key   ${apiKey}`,
      `  sign in   ${ADMIN_EMAIL}  ${adminPassword}`,
      "Both are shown only now.",
    ].join("\n"),
  );
}
