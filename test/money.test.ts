/** Money: exact in, exact out, and a refusal for everything else. */
import { describe, expect, test } from "bun:test";
import { waitForUpdate } from "@pydantic/genai-prices";
import fc from "fast-check";
import {
  approximateUsd,
  divideRoundingUp,
  formatUsd,
  MoneyError,
  nanoUsdFromPriceNumber,
  parseUsd,
} from "../src/money.ts";

/** What `parseUsd` takes: under 10^12 dollars either way. */
const amounts = fc.bigInt({ min: -(10n ** 21n) + 1n, max: 10n ** 21n - 1n });

describe("parseUsd", () => {
  test.each([
    "",
    " ",
    " 1",
    "1 ",
    "1\n",
    "NaN",
    "Infinity",
    "-Infinity",
    "null",
    "undefined",
    "1e3",
    "1E-9",
    "0x10",
    "0b1",
    "+1",
    "--1",
    "- 1",
    ".5",
    "5.",
    ".",
    "-",
    "1.2.3",
    "1,5",
    "1,000",
    "1_000",
    "$1",
    "1 USD",
    "0.0000000001",
    "1.0000000000",
    "1000000000000",
    "9".repeat(100_000),
    "\u0661\u0662",
    "\uff11",
    "1\u00a0",
    "\u22121",
    "1n",
    "1/3",
  ])("refuses %j", (text) => {
    expect(() => parseUsd(text)).toThrow(MoneyError);
  });

  test("quotes no more than the beginning of what it refuses", () => {
    expect(() => parseUsd("x".repeat(1_000_000))).toThrow(/: "x{40}"$/);
  });

  test.each([
    ["0", 0n],
    ["-0", 0n],
    ["-0.000000000", 0n],
    ["1", 1_000_000_000n],
    ["01", 1_000_000_000n],
    ["12.5", 12_500_000_000n],
    ["-12.5", -12_500_000_000n],
    ["0.000000001", 1n],
    ["-0.000000001", -1n],
    ["0.1", 100_000_000n],
    ["0.123456789", 123_456_789n],
    ["9007199254.740993001", 9_007_199_254_740_993_001n],
    ["999999999999.999999999", 999_999_999_999_999_999_999n],
  ])("reads %j as %p nano-dollars", (text, amountNanoUsd) => {
    expect(parseUsd(text)).toBe(amountNanoUsd);
  });
});

describe("formatUsd", () => {
  test.each([
    [0n, "0"],
    [1n, "0.000000001"],
    [-1n, "-0.000000001"],
    [10n, "0.00000001"],
    [1_000_000_000n, "1"],
    [1_500_000_000n, "1.5"],
    [-1_500_000_000n, "-1.5"],
    [100_000_000_000n, "100"],
    [2n ** 63n - 1n, "9223372036.854775807"],
    [10n ** 30n + 1n, "1000000000000000000000.000000001"],
  ])("prints %p nano-dollars as %j", (amountNanoUsd, text) => {
    expect(formatUsd(amountNanoUsd)).toBe(text);
  });

  test("prints what parseUsd reads back, for every amount that it takes", () => {
    fc.assert(
      fc.property(amounts, (amountNanoUsd) => {
        expect(parseUsd(formatUsd(amountNanoUsd))).toBe(amountNanoUsd);
      }),
    );
  });

  test("prints the shortest text: no exponent, no zeros at the end, no minus before zero", () => {
    fc.assert(
      fc.property(amounts, (amountNanoUsd) => {
        expect(formatUsd(amountNanoUsd)).toMatch(/^-?(0|[1-9]\d*)(\.\d{0,8}[1-9])?$/);
      }),
    );
    expect(formatUsd(-0n)).toBe("0");
  });
});

describe("nanoUsdFromPriceNumber", () => {
  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1, -1e-9, 1e12, 1e300, 4e-10, 5e-324])(
    "refuses %p",
    (priceUsd) => {
      expect(() => nanoUsdFromPriceNumber(priceUsd)).toThrow(MoneyError);
    },
  );

  test.each([
    [0, 0n],
    [-0, 0n],
    [0.1, 100_000_000n],
    [2.5, 2_500_000_000n],
    [0.000001, 1_000n],
    // JavaScript prints the next two with an exponent.
    [1e-7, 100n],
    [1e-9, 1n],
    [123_456.789, 123_456_789_000_000n],
    // What a list made by dividing holds: 0.18 and a twelfth.
    [0.18000000000000002, 180_000_000n],
    [0.08333333333333334, 83_333_333n],
  ])("reads %p as %p nano-dollars", (priceUsd, priceNanoUsd) => {
    expect(nanoUsdFromPriceNumber(priceUsd)).toBe(priceNanoUsd);
  });

  test("is exact for every price that has at most nine decimals", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 15n }), (priceNanoUsd) => {
        const priceUsd = Number(formatUsd(priceNanoUsd));
        expect(nanoUsdFromPriceNumber(priceUsd)).toBe(priceNanoUsd);
      }),
    );
  });

  test("takes every price of the built-in list, at most half a nano-dollar off", async () => {
    const prices = await listedPrices();
    expect(prices.length).toBeGreaterThan(4_000);
    const inexact = prices.filter((priceUsd) => {
      const priceNanoUsd = nanoUsdFromPriceNumber(priceUsd);
      expect(Math.abs(approximateUsd(priceNanoUsd) - priceUsd)).toBeLessThanOrEqual(5e-10);
      return String(priceUsd) !== formatUsd(priceNanoUsd);
    });
    // A new one may be noise as well; look at it before adding it here.
    expect(new Set(inexact)).toEqual(new Set([0.18000000000000002, 0.08333333333333334]));
  });
});

describe("divideRoundingUp", () => {
  test.each([
    [-1n, 1n],
    [1n, 0n],
    [1n, -1n],
    [0n, 0n],
  ])("refuses %p / %p", (dividend, divisor) => {
    expect(() => divideRoundingUp(dividend, divisor)).toThrow(MoneyError);
  });

  test("answers the smallest whole number that is not less than the quotient", () => {
    const dividends = fc.bigInt({ min: 0n, max: 10n ** 40n });
    const divisors = fc.bigInt({ min: 1n, max: 10n ** 20n });
    fc.assert(
      fc.property(dividends, divisors, (dividend, divisor) => {
        const quotient = divideRoundingUp(dividend, divisor);
        expect(quotient * divisor >= dividend).toBe(true);
        expect((quotient - 1n) * divisor < dividend).toBe(true);
      }),
    );
  });
});

describe("adding", () => {
  test("a million times $0.0000003 makes exactly 30 cents", () => {
    let sumNanoUsd = 0n;
    for (let count = 0; count < 1_000_000; count++) {
      sumNanoUsd += parseUsd("0.0000003");
    }
    expect(formatUsd(sumNanoUsd)).toBe("0.3");
  });
});

/** Every number in the package's data, of all providers. */
async function listedPrices(): Promise<number[]> {
  const providers = (await waitForUpdate()) ?? [];
  return providers.flatMap(({ models }) =>
    models.flatMap(({ prices }) =>
      (Array.isArray(prices) ? prices : [{ prices }]).flatMap((version) =>
        Object.values(version.prices).flatMap((price) => {
          if (price === undefined) {
            return [];
          }
          return typeof price === "number"
            ? [price]
            : [price.base, ...price.tiers.map((tier) => tier.price)];
        }),
      ),
    ),
  );
}
