/**
 * Amounts of money in the browser: nano-dollars (10⁻⁹ USD) as `bigint`, read from the decimal
 * strings of the management API and printed exactly. The page imports nothing of the server, so
 * this is its own small copy of what `money.ts` does there.
 */
export type NanoUsd = bigint;

/** An exact amount in two parts, so that cents can be set apart from what is below them. */
export interface DollarParts {
  /** Sign, dollars and cents: `"−$1,234.50"`. */
  readonly cents: string;
  /** Digits below a cent without trailing zeros; `""` for a whole number of cents. */
  readonly belowCent: string;
}

const NANO_USD_PER_USD = 1_000_000_000n;
const DECIMAL_PLACES = 9;
const CENT_PLACES = 2;
const DECIMAL = /^(-?)(\d+)(?:\.(\d{1,9}))?$/;
const SHARE_STEPS_PER_PERCENT = 100n;

/** Reads a decimal string of dollars exactly; throws `RangeError` for anything else. */
export function parseUsd(text: string): NanoUsd {
  const match = DECIMAL.exec(text);
  if (match === null) throw new RangeError(`not an amount in US dollars: ${text.slice(0, 40)}`);
  const [, sign, whole = "0", fraction = ""] = match;
  const absolute = BigInt(whole) * NANO_USD_PER_USD + BigInt(fraction.padEnd(DECIMAL_PLACES, "0"));
  return sign === "-" ? -absolute : absolute;
}

/** Splits an amount at the cent; both parts together are exact. */
export function splitDollars(amountNanoUsd: NanoUsd): DollarParts {
  const absolute = amountNanoUsd < 0n ? -amountNanoUsd : amountNanoUsd;
  const whole = (absolute / NANO_USD_PER_USD).toString().replace(/\B(?=(\d{3})+$)/g, ",");
  const fraction = (absolute % NANO_USD_PER_USD).toString().padStart(DECIMAL_PLACES, "0");
  return {
    cents: `${amountNanoUsd < 0n ? "−" : ""}$${whole}.${fraction.slice(0, CENT_PLACES)}`,
    belowCent: fraction.slice(CENT_PLACES).replace(/0+$/, ""),
  };
}

/** Prints an amount exactly: `"$0.000315"`, `"$12.50"`, `"−$1,200.00"`. */
export function formatDollars(amountNanoUsd: NanoUsd): string {
  const { cents, belowCent } = splitDollars(amountNanoUsd);
  return cents + belowCent;
}

export function sumNanoUsd(amounts: readonly NanoUsd[]): NanoUsd {
  return amounts.reduce((total, amountNanoUsd) => total + amountNanoUsd, 0n);
}

/** How much of `whole` a part is, in percent with two decimals, between 0 and 100. */
export function sharePercent(part: NanoUsd, whole: NanoUsd): number {
  if (whole <= 0n || part <= 0n) return 0;
  if (part >= whole) return 100;
  const steps = (part * 100n * SHARE_STEPS_PER_PERCENT) / whole;
  return Number(steps) / Number(SHARE_STEPS_PER_PERCENT);
}

/** Dollars as a floating-point number: for the height of a bar in a chart, never for a figure. */
export function approximateDollars(amountNanoUsd: NanoUsd): number {
  return Number(amountNanoUsd) / Number(NANO_USD_PER_USD);
}
