/** The booster wallet, as `GET /usages` tells of it in either shape. */
import { member, number } from "./values.ts";

/** What was bought beside the plan, in cents of `currency`. */
export interface Wallet {
  readonly leftCents: number;
  readonly totalCents: number | undefined;
  /** Charged this month, and how much may be; undefined = not said, or without a limit. */
  readonly monthlyUsedCents: number | undefined;
  readonly monthlyLimitCents: number | undefined;
  /** Such as USD. */
  readonly currency: string | undefined;
}

/** The wallet's amounts are cents × 1,000,000; the month's are cents. */
export function readWallet(wallet: unknown): Wallet | undefined {
  const left = number(member(wallet, "balance", "amountLeft"));
  const total = number(member(wallet, "balance", "amount"));
  if (left === undefined || left < 0) return undefined;
  const limited = member(wallet, "monthlyChargeLimitEnabled") === true;
  return {
    leftCents: left / 1_000_000,
    totalCents: total === undefined || total < 0 ? undefined : total / 1_000_000,
    monthlyUsedCents: amount(member(wallet, "monthlyUsed", "priceInCents")),
    monthlyLimitCents: limited ? amount(member(wallet, "monthlyChargeLimit", "priceInCents")) : undefined,
    currency:
      readCurrency(member(wallet, "monthlyChargeLimit", "currency")) ??
      readCurrency(member(wallet, "monthlyUsed", "currency")),
  };
}

function amount(value: unknown): number | undefined {
  const cents = number(value);
  return cents === undefined || cents < 0 ? undefined : cents;
}

function readCurrency(value: unknown): string | undefined {
  return typeof value === "string" && /^[A-Z]{3}$/.test(value) ? value : undefined;
}
