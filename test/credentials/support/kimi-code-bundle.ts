/** Pieces of the real kimi-code, cut out of its published bundle, so that its own code judges our files. */
import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";

const BUNDLE = fileURLToPath(
  new URL("../../hosts/node_modules/@moonshot-ai/kimi-code/dist/main.mjs", import.meta.url),
);

export interface KimiCodeToken {
  accessToken: string;
  refreshToken: string;
  expiresAt: number;
  expiresIn: number;
  scope: string;
  tokenType: string;
}

export interface KimiCode {
  resolveKimiCodeOAuthKey(options: { oauthHost?: string; baseUrl?: string }): string;
  revokedTombstone(prior: KimiCodeToken): KimiCodeToken;
  openStorage(directory: string): {
    load(name: string): Promise<KimiCodeToken | undefined>;
    save(name: string, token: KimiCodeToken): Promise<void>;
  };
}

export function realKimiCode(): KimiCode {
  const lines = fs.readFileSync(BUNDLE, "utf8").split("\n");
  /** The lines from the one that starts with `start` to the closing brace of the same depth. */
  function cut(start: string): string {
    const from = lines.findIndex((line) => line.trimStart().startsWith(start));
    if (from < 0) throw new Error(`kimi-code's bundle has no ${start}`);
    const margin = /^\s*/.exec(lines[from] ?? "")?.[0] ?? "";
    const length = lines.slice(from).findIndex((line) => line.startsWith(`${margin}}`));
    return lines.slice(from, from + length + 1).join("\n");
  }
  const pieces = [
    "function isRecord$24(",
    "function tokenToWire(",
    "function tokenFromWire(",
    "function revokedTombstone(",
    "function normalizeEndpoint(",
    "function defaultBaseUrl(",
    "function resolveKimiCodeOAuthKey(",
    "FileTokenStorage = class {",
  ].map(cut);
  const code = `
    const kimiCodeBaseUrl = () => "https://api.kimi.com/coding/v1";
    const KIMI_CODE_OAUTH_KEY = "oauth/kimi-code", KIMI_CODE_SCOPED_OAUTH_KEY_PREFIX = "oauth/kimi-code-env-";
    const SHARED_DEFAULT_BASE_URLS = new Set([kimiCodeBaseUrl()]);
    let FileTokenStorage;
    ${pieces.join("\n")};
    ({ resolveKimiCodeOAuthKey, revokedTombstone, openStorage: (directory) => new FileTokenStorage(directory) });
  `;
  return runInNewContext(code, { ...fs, basename, join, createHash, randomBytes, Buffer, process });
}
