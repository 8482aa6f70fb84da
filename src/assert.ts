/** Thrown when something that must always hold does not. The caller stops taking money. */
export class BrokenInvariantError extends Error {
  override readonly name = "BrokenInvariantError";
}

/** States an invariant. The message says what must hold; it never contains caller data. */
export function assert(holds: boolean, invariant: string): asserts holds {
  if (!holds) {
    throw new BrokenInvariantError(invariant);
  }
}

/** For the end of a `switch` over a union: the compiler proves that every case was handled. */
export function assertNever(value: never, what: string): never {
  throw new BrokenInvariantError(`unhandled ${what}: ${JSON.stringify(value)}`);
}
