/** The last good list of the server, kept beside pi's own files so that the next start has it, offline too. */
import { createHash } from "node:crypto";
import { readJsonSync } from "../credentials/small-file.ts";
import { isJsonObject } from "../oauth/json-object.ts";
import { parseRegion, type Region } from "../region.ts";
import { parseServerList, type ServerModel, toServerList } from "./server-list.ts";

/** Whose list it is. Access tokens change with every refresh, so the login is known by where it is kept. */
export interface Account {
  readonly owner: string;
  /** The owner's file. */
  readonly path: string;
  /** undefined = kimi.com. */
  readonly region?: Region | undefined;
}

export interface KeptList {
  readonly models: readonly ServerModel[];
  /** ms since the epoch. */
  readonly fetchedAt: number;
}

/** Many times what 64 models need. */
const LARGEST_FILE = 256 * 1024;

/**
 * The list kept in `path`, if it came from `baseUrl` and, where `account` is known, is that account's. Reads one small
 * file synchronously, for pi asks for the models while it loads extensions. Never throws.
 */
export function readKeptList(
  path: string,
  baseUrl: string,
  account: Account | undefined,
): KeptList | undefined {
  const kept = readJsonSync(path, { limit: LARGEST_FILE });
  if (!isJsonObject(kept) || kept.baseUrl !== baseUrl) return undefined;
  if (account !== undefined && kept.account !== accountFingerprint(account)) return undefined;
  const models = parseServerList(kept);
  const { fetchedAt } = kept;
  return models.length > 0 && typeof fetchedAt === "number" && Number.isFinite(fetchedAt)
    ? { models, fetchedAt }
    : undefined;
}

/** Replaces the kept list (0600, atomic). Never throws; where it cannot be written the next start has the old one. */
export async function keepList(
  path: string,
  baseUrl: string,
  account: Account,
  list: KeptList,
): Promise<void> {
  const { models, fetchedAt } = list;
  const kept = { fetchedAt, baseUrl, account: accountFingerprint(account), ...toServerList(models) };
  const { keepJson } = await import("../credentials/file.ts"); // not at pi's start
  await keepJson(path, kept);
}

function accountFingerprint({ owner, path }: Account): string {
  return createHash("sha256").update(`${owner}\n${path}`).digest("hex").slice(0, 16);
}

/** The account that pi's auth.json mirrors under `provider`; undefined when it holds no login of ours. Never throws. */
export function readMirroredAccount(authPath: string, provider: string): Account | undefined {
  const entries = readJsonSync(authPath);
  const entry = isJsonObject(entries) ? entries[provider] : undefined;
  return isJsonObject(entry) && typeof entry.owner === "string" && typeof entry.source === "string"
    ? { owner: entry.owner, path: entry.source, region: parseRegion(entry.region) }
    : undefined;
}
