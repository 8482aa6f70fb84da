/** Passwords: argon2id (RFC 9106), hashed and verified off the event loop by Bun. */

const MEMORY_KIB = 65_536;
const PASSES = 2;

/** The hash of a random text that nobody kept. Verified for e-mails that do not exist. */
const NOBODYS_HASH = [
  "$argon2id$v=19$m=65536,t=2,p=1",
  "aRNGGzDL969oDCexRnt+0wbYhrO4o+huna43BubRBV0",
  "hRKzaW/qhJE1dT0DmRYuizIDh0UqfaqrkwirxezPxV8",
].join("$");

/** The encoded argon2id hash of a password. */
export async function hashPassword(password: string): Promise<string> {
  return await Bun.password.hash(password, {
    algorithm: "argon2id",
    memoryCost: MEMORY_KIB,
    timeCost: PASSES,
  });
}

/**
 * Whether the password is the one that was hashed. Without a hash (unknown e-mail, no password) the
 * same work is done and the answer is false, so that the time taken does not tell who exists.
 */
export async function isPasswordOf(password: string, hash: string | null): Promise<boolean> {
  const matches = await Bun.password.verify(password, hash ?? NOBODYS_HASH);
  return hash !== null && matches;
}
