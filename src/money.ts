/**
 * Money: whole nano-dollars (10⁻⁹ USD) as `bigint`, and decimal strings of dollars at the edges.
 * The only file that parses, rounds or prints an amount. Nothing here returns a default: what
 * cannot be converted throws.
 */

/** An amount in nano-dollars: 1 USD = 1,000,000,000. */
export type NanoUsd = bigint;

/** Thrown when a text or number is not an exact amount of money. */
export class MoneyError extends Error {
  override readonly name = "MoneyError";
}

export const NANO_USD_PER_USD = 1_000_000_000n;

const DECIMAL_PLACES = 9;
const QUOTED_CHARACTERS_MAX = 40;
const DECIMAL = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?$/;

/**
 * Reads a decimal string of dollars such as `"12.5"` or `"0.000000001"`, exactly.
 * Throws `MoneyError` for exponents, more than nine decimals, signs other than `-`, or blanks.
 */
export function parseUsd(text: string): NanoUsd {
  const match = DECIMAL.exec(text);
  if (match === null) {
    throw new MoneyError(
      `not an amount in US dollars with at most ${DECIMAL_PLACES} decimals: ` +
        JSON.stringify(text.slice(0, QUOTED_CHARACTERS_MAX)),
    );
  }
  const [, sign = "", whole = "0", fraction = ""] = match;
  const nanoUsd = BigInt(whole) * NANO_USD_PER_USD + BigInt(fraction.padEnd(DECIMAL_PLACES, "0"));
  return sign === "-" ? -nanoUsd : nanoUsd;
}

/** Prints nano-dollars as the shortest exact decimal string of dollars: `1500000000n` → `"1.5"`. */
export function formatUsd(amountNanoUsd: NanoUsd): string {
  const sign = amountNanoUsd < 0n ? "-" : "";
  const absolute = amountNanoUsd < 0n ? -amountNanoUsd : amountNanoUsd;
  const whole = absolute / NANO_USD_PER_USD;
  const fraction = (absolute % NANO_USD_PER_USD).toString().padStart(DECIMAL_PLACES, "0");
  const decimals = fraction.replace(/0+$/, "");
  return decimals === "" ? `${sign}${whole}` : `${sign}${whole}.${decimals}`;
}

/**
 * A price list's number, in dollars, made whole nano-dollars. Lists are made by dividing, so that
 * some of their numbers have more than nine decimals (0.18000000000000002 for 0.18,
 * 0.08333333333333334 for a twelfth): these become the nearest nano-dollar, all others are exact.
 * Throws `MoneyError` for what is no price, and for a price that would become zero.
 */
export function nanoUsdFromPriceNumber(priceUsd: number): NanoUsd {
  if (!Number.isFinite(priceUsd) || priceUsd < 0) {
    throw new MoneyError(`not a price: ${priceUsd}`);
  }
  const priceNanoUsd = parseUsd(priceUsd.toFixed(DECIMAL_PLACES));
  if (priceNanoUsd === 0n && priceUsd > 0) {
    throw new MoneyError(`a price below half a nano-dollar: ${priceUsd}`);
  }
  return priceNanoUsd;
}

/** Dollars as a floating-point number: for graphs and counters, never for money. */
export function approximateUsd(amountNanoUsd: NanoUsd): number {
  return Number(amountNanoUsd) / Number(NANO_USD_PER_USD);
}

/** Divides and rounds up, so that a fraction of a nano-dollar is never given away. */
export function divideRoundingUp(dividend: bigint, divisor: bigint): bigint {
  if (dividend < 0n || divisor <= 0n) {
    throw new MoneyError("only a non-negative amount can be divided, by a positive number");
  }
  return (dividend + divisor - 1n) / divisor;
}
