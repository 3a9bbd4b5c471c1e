/** The last good figures, kept beside pi's own files: shown at once, by every pi process of this account. */
import { createHash } from "node:crypto";
import { keepJson, readJsonSync } from "../credentials/file.ts";
import { isJsonObject, type JsonObject } from "../oauth/json-object.ts";
import type { Figures } from "./figures.ts";
import { number, positive, text } from "./values.ts";
import type { Wallet } from "./wallet.ts";
import type { QuotaWindow, WindowKind } from "./windows.ts";

/** Whose figures they are: a login by where it is kept (see models/cache.ts), a key by its fingerprint. */
export interface UsageAccount {
  readonly owner: string;
  readonly path: string;
  /** The API that was asked. */
  readonly baseUrl: string;
}

export interface KeptFigures {
  readonly figures: Figures;
  /** ms since the epoch. */
  readonly fetchedAt: number;
}

const LARGEST_FILE = 64 * 1024;

/** The figures kept in `path`, if they are of `account` where that is given. Reads one small file; never throws. */
export function readKeptFigures(path: string, account?: UsageAccount): KeptFigures | undefined {
  const kept = readKeptJson(path, account && accountFingerprint(account));
  if (!kept) return undefined;
  const figures = readFigures(kept.figures);
  const fetchedAt = inCalendar(positive(kept.fetchedAt));
  return figures && fetchedAt !== undefined ? { figures, fetchedAt } : undefined;
}

/** The kept file as it is, if it is of `account`, a fingerprint, where that is given. Never throws. */
export function readKeptJson(path: string, account?: string): JsonObject | undefined {
  const kept = readJsonSync(path, { limit: LARGEST_FILE });
  return isJsonObject(kept) && (account === undefined || kept.account === account) ? kept : undefined;
}

/**
 * Replaces the kept figures (0600, atomic); what else is kept of the same account stays. Never throws; where they cannot
 * be written, every process asks itself.
 */
export async function keepFigures(path: string, account: UsageAccount, kept: KeptFigures): Promise<void> {
  const { fetchedAt, figures } = kept;
  const name = accountFingerprint(account);
  await keepJson(path, { ...readKeptJson(path, name), fetchedAt, account: name, figures });
}

/** Names the account without saying whose it is; 16 characters that a file's name may hold. */
export function accountFingerprint({ owner, path, baseUrl }: UsageAccount): string {
  return createHash("sha256").update(`${owner}\n${path}\n${baseUrl}`).digest("hex").slice(0, 16);
}

/** Another version, or anybody, may have written it. */
function readFigures(value: unknown): Figures | undefined {
  if (!isJsonObject(value) || !Array.isArray(value.windows)) return undefined;
  return {
    plan: text(value.plan),
    windows: value.windows.slice(0, 12).flatMap(readWindow),
    parallelLimit: positive(value.parallelLimit),
    wallet: readWallet(value.wallet),
  };
}

const KINDS: readonly WindowKind[] = ["5h", "week", "month", "month-code", "other"];

function readWindow(value: unknown): readonly QuotaWindow[] {
  if (!isJsonObject(value)) return [];
  const kind = KINDS.find((candidate) => candidate === value.kind);
  const label = text(value.label);
  const usedPercent = number(value.usedPercent);
  if (!kind || label === undefined || usedPercent === undefined || usedPercent < 0 || usedPercent > 100) {
    return [];
  }
  const resetsAt = positive(value.resetsAt);
  return [{ kind, label, usedPercent, resetsAt: inCalendar(resetsAt), length: positive(value.length) }];
}

/** The largest time a Date can hold, ms. */
const LAST = 8.64e15;

function inCalendar(at: number | undefined): number | undefined {
  return at !== undefined && at <= LAST ? at : undefined;
}

function readWallet(value: unknown): Wallet | undefined {
  if (!isJsonObject(value)) return undefined;
  const cents = (name: string) => {
    const read = number(value[name]);
    return read !== undefined && read >= 0 ? read : undefined;
  };
  const leftCents = cents("leftCents");
  const currency = text(value.currency);
  return leftCents === undefined
    ? undefined
    : {
        leftCents,
        totalCents: cents("totalCents"),
        monthlyUsedCents: cents("monthlyUsedCents"),
        monthlyLimitCents: cents("monthlyLimitCents"),
        currency: currency !== undefined && /^[A-Z]{3}$/.test(currency) ? currency : undefined,
      };
}
