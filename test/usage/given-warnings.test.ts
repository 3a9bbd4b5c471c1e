/** The warnings that were given are kept beside the figures, for all processes of this home. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { claimWarnings } from "../../extensions/usage/given-warnings.ts";
import { accountFingerprint, keepFigures, readKeptFigures } from "../../extensions/usage/kept.ts";
import type { QuotaWarning } from "../../extensions/usage/quota-warning.ts";

const HOUR = 3_600_000;
const now = Date.UTC(2026, 10, 20, 12);
const account = { owner: "kimi-cli", path: "/a", baseUrl: "https://x" };
const name = accountFingerprint(account);
const figures = { plan: undefined, windows: [], parallelLimit: 3, wallet: undefined };

function warning(window: string, threshold: number, resetsAt = now + HOUR): QuotaWarning {
  return { window, threshold, resetsAt, until: resetsAt, text: `${window} ${threshold}` };
}

let path: string;
beforeEach(async () => {
  const folder = mkdtempSync(join(tmpdir(), "given-"));
  onTestFinished(() => {
    chmodSync(folder, 0o700);
    rmSync(folder, { recursive: true, force: true });
  });
  path = join(folder, "usage.json");
  await keepFigures(path, account, { figures, fetchedAt: now });
});
const claim = (warnings: readonly QuotaWarning[], at = now) => claimWarnings(path, name, warnings, at);
const read = () => JSON.parse(readFileSync(path, "utf8"));

test("each is given once until its window resets, the weaker not after the stronger", () => {
  const [week, hours] = [warning("week", 80), warning("5h", 95)];
  expect(claim([week])).toEqual([week]);
  expect(claim([week, hours])).toEqual([hours]);
  expect(claim([week, hours, warning("5h", 80)])).toEqual([]);
  expect(claim([warning("week", 95)])).toHaveLength(1);
  expect(claim([warning("5h", 80, now + 6 * HOUR)])).toHaveLength(1);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("newer figures of the account keep them, and what else stands there", async () => {
  claim([warning("week", 80)]);
  writeFileSync(path, JSON.stringify({ ...read(), later: "version" }));
  claim([warning("5h", 80)]);
  await keepFigures(path, account, { figures, fetchedAt: now + 1 });
  expect(readKeptFigures(path, account)).toEqual({ figures, fetchedAt: now + 1 });
  expect(read().later).toBe("version");
  expect(claim([warning("week", 80), warning("5h", 80)])).toEqual([]);
});

test("another account has its own", async () => {
  claim([warning("week", 80)]);
  expect(claimWarnings(path, "another", [warning("week", 80)], now)).toHaveLength(1);
  expect(claim([warning("week", 80)])).toEqual([]);
  const other = { ...account, path: "/b" };
  await keepFigures(path, other, { figures, fetchedAt: now });
  expect(read().warnings).toBeUndefined();
  expect(claimWarnings(path, accountFingerprint(other), [warning("week", 80)], now)).toHaveLength(1);
});

test("those of windows long over are forgotten", () => {
  claim([warning("week", 80), warning("5h", 80, now + 9 * HOUR)]);
  claim([warning("5h", 95, now + 9 * HOUR)], now + 5 * HOUR);
  expect(read().warnings.map(({ window, threshold }: GivenLike) => `${window} ${threshold}`)).toEqual([
    "5h 95",
    "5h 80",
  ]);
});

interface GivenLike {
  readonly window: string;
  readonly threshold: number;
}

test("a file that is not there, or holds anything else, is no reason to be silent or to throw", () => {
  const whole = read();
  fc.assert(
    fc.property(fc.jsonValue(), (warnings) => {
      writeFileSync(path, JSON.stringify({ ...whole, warnings }));
      expect(claim([warning("week", 80)])).toHaveLength(1);
      expect(claim([warning("week", 80)])).toEqual([]);
    }),
    { numRuns: 30 },
  );
  rmSync(path);
  expect(claim([warning("week", 80)])).toHaveLength(1);
  expect(() => readFileSync(path)).toThrow("ENOENT");
});
