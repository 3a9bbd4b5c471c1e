/** The recorded requests in `golden/`, one file a conversation, the same for both hosts. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { olderHost, type PiHost } from "../support/hosts.ts";

const folder = fileURLToPath(new URL("golden/", import.meta.url));

/**
 * Compares with the recording, byte for byte but for the formatter's line breaks. `UPDATE_GOLDEN=1` records anew what
 * the older host sends (to be formatted by `biome check --write`); the newer is compared with it even then.
 */
export function expectGolden(name: string, host: PiHost, sent: unknown): void {
  const file = `${folder}${name}.json`;
  if (process.env.UPDATE_GOLDEN === "1" && host === olderHost) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, written(sent));
  }
  const recorded: unknown = JSON.parse(readFileSync(file, "utf8"));
  expect(written(sent)).toBe(written(recorded));
}

/** With the keys in their order. */
function written(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
