/** What the gateway needs to know of a company that sells models. One file each beside this one. */
import type { Secret } from "../secret.ts";

export type Provider = {
  readonly id: string;
  /** The address of chat completions below an account's base URL. */
  chatCompletionsUrl(baseUrl: string): string;
  /** The credential's headers; everything the caller used to identify itself is gone by then. */
  credentialHeaders(secret: Secret): Readonly<Record<string, string>>;
  /** The field that limits the output, for a request that names none. */
  readonly completionLimitField: string;
};
