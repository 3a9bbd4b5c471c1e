/** The quota in the status file is that of the screen. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { readQuota } from "../../extensions/status-file/record.ts";
import { keepFigures } from "../../extensions/usage/kept.ts";

test("nothing is used of a window that was reset since the figures were fetched", async () => {
  const folder = mkdtempSync(join(tmpdir(), "quota-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "usage.json");
  const window = { kind: "week", label: "week", usedPercent: 97, length: undefined } as const;
  const windows = [5_000, 8_000, 20_000].map((resetsAt) => ({ ...window, resetsAt }));
  const figures = { plan: "Pro", windows, parallelLimit: 3, wallet: undefined };
  await keepFigures(path, { owner: "o", path: "p", baseUrl: "b" }, { fetchedAt: 6_000, figures });
  expect(readQuota(path, 10_000)?.windows.map(({ usedPercent }) => usedPercent)).toEqual([97, 0, 97]);
});
