/** Whatever names stand in the folder of the requests: a request is sent, soon, and nothing but our own names is made or removed. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { sayWaiting } from "../../extensions/messages.ts";
import { createQueue, type Waiting } from "../../extensions/queue/queue.ts";
import { type Folder, isAlive, learnedLimit, pauseAfter, readRules } from "../../extensions/queue/tickets.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { survives } from "./support/cases.ts";
import { hostileText, SHOWN } from "./support/values.ts";

const NOW = Date.UTC(2026, 10, 21);
/** What a file of ours may be called: it stays in its folder, and cannot be mistaken for an option or a hidden file. */
const OURS = /^(?:request|pause|learned)-\d{1,15}-[\w.]+$/;

const id = fc.oneof(
  fc.constantFrom(
    "a",
    "b",
    "....",
    "x.0.0.y",
    "x.-1.0.y",
    "x.NaN.1.y",
    "x.1e9.0.y",
    "x.4294967296.0.y",
    "__proto__",
  ),
  hostileText,
);
const number = fc.oneof(
  fc.nat().map(String),
  fc.constantFrom(
    "0",
    "007",
    "999999999999999",
    "999999999999998",
    "1000000000000000",
    "9".repeat(400),
    "-1",
  ),
  fc.constantFrom(...[-120_000, -500, 0, 500, 30_000, 60_500, 120_000].map((ms) => `${NOW + ms}`)),
);
const name = fc.oneof(
  { weight: 1, arbitrary: hostileText },
  { weight: 2, arbitrary: id.map((one) => `request-${one}`) },
  { weight: 2, arbitrary: fc.tuple(number, id).map((all) => `request-${all.join("-")}`) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constantFrom("pause", "learned"), number, number).map((all) => all.join("-")),
  },
);
const names = fc
  .array(name, { maxLength: 12 })
  .map((all) => [...new Set(all.filter((one) => one !== "" && !/[/\0]/.test(one)))]);

describe("the folder of the requests", () => {
  survives(
    "gives rules, tickets and notes that can be obeyed, whatever is in it",
    fc.tuple(
      names,
      fc.option(fc.double({ noNaN: true, min: 5e-324 }), { nil: undefined }),
      fc.option(fc.oneof(fc.nat(), fc.constantFrom(1e300, -1)), { nil: undefined }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    ),
    async ([before, known, retryAfter, random]) => {
      const { limit, pause: last, endedPauses, outdated } = readRules(before, NOW, known);
      expect(limit === undefined || limit >= 1).toBe(true);
      expect(last === undefined || last.until <= NOW + 62_000).toBe(true);
      for (const one of [...endedPauses, ...outdated]) expect(one).toMatch(/^(?:pause|learned)-/);
      const refusal = { concurrency: true, retryAfter };
      const pause = pauseAfter(last, refusal, NOW, NOW - 1_000);
      expect(pause ?? "pause-1-1").toMatch(OURS);
      if (pause !== undefined && (retryAfter ?? 0) >= 0)
        expect(readRules([pause], NOW - 1, undefined).pause?.until).toBeGreaterThan(NOW - 1);
      expect(learnedLimit(before.length, NOW)).toMatch(OURS);
      for (const one of before) isAlive(one.slice(one.lastIndexOf("-") + 1), NOW, NOW);

      const inFolder = new Map(before.map((one) => [one, false]));
      const touched: string[] = [];
      const folder: Folder = {
        list: () => [...inFolder.keys()],
        write: (one, waits) => {
          touched.push(one);
          inFolder.set(one, waits);
        },
        remove: (one) => {
          touched.push(one);
          inFolder.delete(one);
        },
        look: (one) => ({ waits: inFolder.get(one) === true, writtenAt: NOW - 1_000 }),
      };
      const told: (Waiting | undefined)[] = [];
      /** Waits once, then gives up; whether it could enter. */
      const tryToEnter = async (allowed: number | undefined) => {
        const stop = new AbortController();
        const queue = createQueue({
          path: "/",
          limit: () => allowed,
          clock: { now: () => NOW, sleep: async () => stop.abort() },
          every: () => () => {},
          random: () => random,
          waiting: (what) => told.push(what),
          openFolder: () => folder,
        });
        const place = queue.place("account");
        await place.enter(stop.signal);
        return { place, entered: !stop.signal.aborted };
      };
      const first = await tryToEnter(known);
      if (last && last.until > NOW) expect(first.entered).toBe(false);
      // Whoever comes later sees it, in whatever company.
      const second = await tryToEnter(1);
      expect(second.entered).toBe(false);
      first.place.refused(refusal);
      first.place.served();
      for (const { place } of [first, second]) place.release();
      for (const what of told) if (what) expect(sayWaiting(what, NOW)).toMatch(SHOWN);
      for (const one of touched) expect(one).toMatch(OURS);
      const left = [...inFolder.keys()].filter((one) => !before.includes(one));
      expect(left.filter((one) => !/^(?:pause|learned)-/.test(one))).toEqual([]);
      return before.length > 0;
    },
  );

  const STRANGE: Record<string, (path: string) => void> = {
    "folders, which cannot be removed,": (path) => mkdirSync(path),
    FIFOs: (path) => execFileSync("mkfifo", [path]),
  };
  const NAMES = [
    "request-1-a",
    "request-2-b",
    "request-3-c",
    "request-4-x.1.0.y",
    `pause-${Date.UTC(2020, 0)}-1`,
    "learned-3-1",
    "\u001b[2J",
    "-rf",
    "..\\x",
  ];

  test.each(Object.entries(STRANGE))("may hold %s instead of files", async (_, make) => {
    const path = mkdtempSync(join(tmpdir(), "pi-kimi-hostile-"));
    onTestFinished(() => rmSync(path, { recursive: true, force: true }));
    const folder = join(path, "account");
    mkdirSync(folder);
    const clock = createFakeClock(Date.now());
    clock.autoAdvance();
    const quiet = { every: () => () => {}, random: () => 0, waiting: () => {} };
    const queue = createQueue({ path, limit: () => 2, clock, ...quiet });
    const place = queue.place("account");
    for (const one of NAMES) make(join(folder, one));
    const begun = clock.now();
    await place.enter(undefined);
    // Nobody gives a sign of life: they stop counting after two minutes.
    expect(clock.now() - begun).toBeLessThan(300_000);
    place.refused({ concurrency: true, retryAfter: undefined });
    await place.enter(undefined);
    place.served();
    place.release();
    const left = readdirSync(folder);
    expect(left.filter((one) => /^request-/.test(one) && !NAMES.includes(one))).toEqual([]);
    for (const one of ["\u001b[2J", "-rf", "..\\x"]) expect(left).toContain(one);
  });
});
