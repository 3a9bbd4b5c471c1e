/** The last good answer about the quota, kept beside pi's own files: shown at once, by every pi process of this account. */
import { isJsonObject, type JsonObject, readJsonSync } from "../lib/json.ts";
import { keepJson } from "../lib/replace-file.ts";
import { type KeptFigures, parseFigures, time } from "./figures.ts";

/** Bytes. */
const LARGEST_FILE = 256 * 1024;

/** The figures kept in `path`, if they are of the account with this id, where it is given. Reads one small file; never throws. */
export function readKeptFigures(path: string, account?: string): KeptFigures | undefined {
  const asked = readKeptJson(path, account)?.asked;
  if (!isJsonObject(asked)) return undefined;
  const figures = parseFigures(asked.answer);
  const fetchedAt = time(asked.at);
  return figures && fetchedAt !== undefined ? { figures, fetchedAt } : undefined;
}

/** The kept file as it is, if it is of the account with this id, where it is given. Never throws. */
export function readKeptJson(path: string, account?: string): JsonObject | undefined {
  const kept = readJsonSync(path, { limit: LARGEST_FILE });
  return isJsonObject(kept) && (account === undefined || kept.account === account) ? kept : undefined;
}

/**
 * Keeps `answer` of `fetchedAt` (ms) as `parseFigures` reads it (0600, atomic); what else is kept of the same account
 * stays. Never throws; where it cannot be written, every process asks itself.
 */
export function keepAnswer(path: string, account: string, answer: unknown, fetchedAt: number): void {
  try {
    keepJson(path, {
      ...readKeptJson(path, account),
      account,
      parallelLimit: parseFigures(answer)?.parallelLimit,
      asked: { at: fetchedAt, answer },
    });
  } catch {
    // Nested deeper than JSON can be written.
  }
}
