/**
 * The migrations in their order, as text, so that the executable carries them. Equal to the folder:
 * a test holds it.
 */
import organizations from "../../migrations/0001_organizations.sql" with { type: "text" };
import identity from "../../migrations/0002_identity.sql" with { type: "text" };
import auditLog from "../../migrations/0003_audit_log.sql" with { type: "text" };
import apiKeys from "../../migrations/0004_api_keys.sql" with { type: "text" };
import providerAccounts from "../../migrations/0005_provider_accounts.sql" with { type: "text" };
import budgets from "../../migrations/0006_budgets.sql" with { type: "text" };
import governanceEpoch from "../../migrations/0007_governance_epoch.sql" with { type: "text" };
import ledger from "../../migrations/0008_ledger.sql" with { type: "text" };
import reservations from "../../migrations/0009_reservations.sql" with { type: "text" };
import partitions from "../../migrations/0010_partitions.sql" with { type: "text" };
import closeReservations from "../../migrations/0011_close_reservations.sql" with { type: "text" };
import writeBatch from "../../migrations/0012_write_batch.sql" with { type: "text" };
import jobRuns from "../../migrations/0013_job_runs.sql" with { type: "text" };
import encryptionCanaries from "../../migrations/0014_encryption_canaries.sql" with {
  type: "text",
};
import ledgerSeals from "../../migrations/0015_ledger_seals.sql" with { type: "text" };
import alerts from "../../migrations/0016_alerts.sql" with { type: "text" };
import rateWindows from "../../migrations/0017_rate_windows.sql" with { type: "text" };
import lockWindows from "../../migrations/0018_lock_windows.sql" with { type: "text" };
import closeReservationsPinned from "../../migrations/0019_close_reservations.sql" with {
  type: "text",
};
import correctReservations from "../../migrations/0020_correct_reservations.sql" with {
  type: "text",
};
import reserve from "../../migrations/0021_reserve.sql" with { type: "text" };
import writeBatchPinned from "../../migrations/0022_write_batch.sql" with { type: "text" };
import budgetAnchor from "../../migrations/0023_budget_anchor.sql" with { type: "text" };
import versions from "../../migrations/0024_versions.sql" with { type: "text" };
import places from "../../migrations/0025_places.sql" with { type: "text" };
import apiKeyRotation from "../../migrations/0026_api_key_rotation.sql" with { type: "text" };
import blocks from "../../migrations/0027_blocks.sql" with { type: "text" };
import budgetIncreases from "../../migrations/0028_budget_increases.sql" with { type: "text" };
import policyReviews from "../../migrations/0029_policy_reviews.sql" with { type: "text" };
import members from "../../migrations/0030_members.sql" with { type: "text" };
import serviceTokens from "../../migrations/0031_service_tokens.sql" with { type: "text" };
import auditSeals from "../../migrations/0032_audit_seals.sql" with { type: "text" };

export type MigrationFile = { readonly name: string; readonly sql: string };

export const migrationFiles: readonly MigrationFile[] = [
  { name: "0001_organizations.sql", sql: organizations },
  { name: "0002_identity.sql", sql: identity },
  { name: "0003_audit_log.sql", sql: auditLog },
  { name: "0004_api_keys.sql", sql: apiKeys },
  { name: "0005_provider_accounts.sql", sql: providerAccounts },
  { name: "0006_budgets.sql", sql: budgets },
  { name: "0007_governance_epoch.sql", sql: governanceEpoch },
  { name: "0008_ledger.sql", sql: ledger },
  { name: "0009_reservations.sql", sql: reservations },
  { name: "0010_partitions.sql", sql: partitions },
  { name: "0011_close_reservations.sql", sql: closeReservations },
  { name: "0012_write_batch.sql", sql: writeBatch },
  { name: "0013_job_runs.sql", sql: jobRuns },
  { name: "0014_encryption_canaries.sql", sql: encryptionCanaries },
  { name: "0015_ledger_seals.sql", sql: ledgerSeals },
  { name: "0016_alerts.sql", sql: alerts },
  { name: "0017_rate_windows.sql", sql: rateWindows },
  { name: "0018_lock_windows.sql", sql: lockWindows },
  { name: "0019_close_reservations.sql", sql: closeReservationsPinned },
  { name: "0020_correct_reservations.sql", sql: correctReservations },
  { name: "0021_reserve.sql", sql: reserve },
  { name: "0022_write_batch.sql", sql: writeBatchPinned },
  { name: "0023_budget_anchor.sql", sql: budgetAnchor },
  { name: "0024_versions.sql", sql: versions },
  { name: "0025_places.sql", sql: places },
  { name: "0026_api_key_rotation.sql", sql: apiKeyRotation },
  { name: "0027_blocks.sql", sql: blocks },
  { name: "0028_budget_increases.sql", sql: budgetIncreases },
  { name: "0029_policy_reviews.sql", sql: policyReviews },
  { name: "0030_members.sql", sql: members },
  { name: "0031_service_tokens.sql", sql: serviceTokens },
  { name: "0032_audit_seals.sql", sql: auditSeals },
];
