/** Names and e-mails in arguments: the same that the management API takes. */
import { UsageError } from "./command.ts";

const NAME = /^\P{Cc}{1,200}$/u;
const EMAIL = /^[^\s\p{Cc}@]{1,200}@[^\s\p{Cc}@]{1,119}$/u;

/** Throws `UsageError` unless it has 1 to 200 printable characters. */
export function readName(flag: string, value: string | undefined): string {
  const name = (value ?? "").trim();
  if (!NAME.test(name)) {
    throw new UsageError(`${flag} must have 1 to 200 printable characters`);
  }
  return name;
}

/** In lower case. Throws `UsageError` unless it looks like an e-mail address. */
export function readEmail(flag: string, value: string | undefined): string {
  const email = (value ?? "").trim().toLowerCase();
  if (!EMAIL.test(email)) {
    throw new UsageError(`${flag} must be an e-mail address`);
  }
  return email;
}
