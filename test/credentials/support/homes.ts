/** Throw-away directories, and tokens to put into them. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import type { Token } from "../../../extensions/oauth/token.ts";

export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), "pi-kimi-coder-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Writes a file, with its directories, and says where. */
export function put(path: string, text: string | Uint8Array, mode = 0o600): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text, { mode });
  return path;
}

export function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

/** Every file and directory below `path`, sorted. */
export function listing(path: string): string[] {
  return readdirSync(path, { recursive: true }).map(String).sort();
}

/** kimi.com's. */
export const USUAL_HOSTS = {
  oauthHost: "https://auth.kimi.com",
  baseUrl: "https://api.kimi.com/coding/v1",
} as const;

export const FIRST: Token = {
  accessToken: "access-1",
  refreshToken: "refresh-1",
  expiresAt: 1_800_000_000_000,
  lifetime: 900_000,
  scope: "kimi-code",
  tokenType: "Bearer",
};

export const SECOND: Token = {
  ...FIRST,
  accessToken: "access-2",
  refreshToken: "refresh-2",
  expiresAt: 1_800_000_900_250,
};
