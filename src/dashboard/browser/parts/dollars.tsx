/** An exact amount; what is below a cent is set back, so that the eye finds the cents first. */
import { type NanoUsd, splitDollars } from "../amount.ts";

interface DollarsProps {
  readonly amountNanoUsd: NanoUsd;
  /** Room to keep for digits below a cent, so that amounts in a column align at the point. */
  readonly alignDigits?: number;
}

export function Dollars({ amountNanoUsd, alignDigits = 0 }: DollarsProps) {
  const { cents, belowCent } = splitDollars(amountNanoUsd);
  const missingDigits = Math.max(0, alignDigits - belowCent.length);
  return (
    <span class="dollars" style={{ "--missing-digits": missingDigits }}>
      {cents}
      {belowCent !== "" && <span class="below-cent">{belowCent}</span>}
    </span>
  );
}
