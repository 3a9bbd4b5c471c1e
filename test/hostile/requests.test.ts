/** Whatever names stand in the folder of the requests: a request is sent, soon, and nothing but our own names is made or removed. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { createGuard } from "../../extensions/concurrency/guard.ts";
import { createLiveness } from "../../extensions/concurrency/liveness.ts";
import {
  endedPauses,
  learnedLimit,
  outdated,
  pauseAfter,
  readRules,
} from "../../extensions/concurrency/notes.ts";
import {
  countHeld,
  draw,
  leave,
  type Operation,
  runSteps,
  sweep,
  ticketName,
  tryToEnter,
} from "../../extensions/concurrency/tickets.ts";
import { sayWaiting } from "../../extensions/concurrency/words.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { survives } from "./support/cases.ts";
import { hostileText, SHOWN } from "./support/values.ts";

const NOW = Date.UTC(2026, 10, 21);
/** What a file of ours may be called: it stays in its folder, and cannot be mistaken for an option or a hidden file. */
const OURS = /^(?:(?:choosing|held)-|ticket-\d{1,15}-|pause-\d{1,15}-|learned-\d{1,6}-)[\w.]+$/;

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
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom("choosing", "held"), id).map((all) => all.join("-")) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("ticket"), number, id).map((all) => all.join("-")) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constantFrom("pause", "learned"), number, number).map((all) => all.join("-")),
  },
);
const names = fc
  .array(name, { maxLength: 12 })
  .map((all) => [...new Set(all.filter((one) => one !== "" && !/[/\0]/.test(one)))]);

describe("the folder of the requests", () => {
  const liveness = createLiveness();
  survives(
    "gives rules, tickets and notes that can be obeyed, whatever is in it",
    fc.tuple(
      names,
      fc.option(fc.double({ noNaN: true, min: 5e-324 }), { nil: undefined }),
      fc.option(fc.oneof(fc.nat(), fc.constantFrom(1e300, -1)), { nil: undefined }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    ),
    ([before, known, retryAfter, random]) => {
      const folder = new Set(before);
      const touched: string[] = [];
      const perform = (operation: Operation) => {
        if (operation.operation === "list") return [...folder];
        touched.push(operation.name);
        folder[operation.operation === "create" ? "add" : "delete"](operation.name);
        return [];
      };
      const isGone = (one: string) => liveness.judge(one, NOW - 1_000, NOW) === "gone";

      const { limit, pausedUntil } = readRules(before, NOW, known);
      expect(limit === undefined || limit >= 1).toBe(true);
      expect(pausedUntil === undefined || (pausedUntil > NOW && pausedUntil <= NOW + 62_000)).toBe(true);
      for (const one of [...outdated(before, NOW), ...endedPauses(before, NOW)])
        expect(one).toMatch(/^(?:pause|learned)-/);
      const refusal = { concurrency: true, retryAfter };
      const pause = pauseAfter(before, refusal, { now: NOW, sentAt: NOW - 1_000, random });
      expect(pause ?? "pause-1-1").toMatch(OURS);
      if (pause !== undefined && (retryAfter ?? 0) >= 0)
        expect(readRules([pause], NOW - 1, undefined).pausedUntil).toBeGreaterThan(NOW - 1);

      runSteps(
        sweep((one) => isGone(one)),
        perform,
      );
      // Were all of them dead, nothing would be removed but what is named as ours is.
      const swept: string[] = [];
      runSteps(
        sweep(() => true),
        (operation) => {
          if (operation.operation === "list") return before;
          swept.push(operation.name);
          return [];
        },
      );
      for (const one of swept) expect(one).toMatch(OURS);
      const own = liveness.newId();
      const ticket = runSteps(draw(own), perform);
      expect(ticketName(ticket)).toMatch(OURS);
      const look = runSteps(
        tryToEnter(ticket, (all) => readRules(all, NOW, known), isGone),
        perform,
      );
      if (look.state === "waiting") {
        expect(Number.isFinite(look.position) && look.position >= 1).toBe(true);
        expect(sayWaiting({ for: "place", position: look.position }, NOW)).toMatch(SHOWN);
      }
      // Everybody who comes after it sees it, in whatever company.
      const other = runSteps(draw(liveness.newId()), perform);
      const alone = { limit: 1, pausedUntil: undefined };
      const onlyOwn = (one: string) => one !== own;
      const behind = runSteps(
        tryToEnter(other, () => alone, onlyOwn),
        perform,
      );
      const isBehind = other.number > ticket.number || other.id > ticket.id || look.state === "entered";
      expect(behind.state).toBe(isBehind ? "waiting" : "entered");

      expect(learnedLimit(runSteps(countHeld(ticket, isGone), perform), NOW)).toMatch(OURS);
      runSteps(leave(ticket), perform);
      runSteps(leave(other), perform);
      for (const one of touched) expect(one).toMatch(OURS);
      // Nobody's file is gone but those of the dead.
      for (const one of before) expect(folder.has(one) || OURS.test(one)).toBe(true);
      return before.length > 0;
    },
  );

  const STRANGE: Record<string, (path: string) => void> = {
    folders: (path) => mkdirSync(path),
    FIFOs: (path) => execFileSync("mkfifo", [path]),
    "loops of symlinks": (path) => symlinkSync(path, path),
    "links to an endless device": (path) => symlinkSync("/dev/zero", path),
  };
  const NAMES = [
    "held-a",
    "ticket-1-b",
    "choosing-c",
    "held-x.1.0.y",
    `pause-${Date.UTC(2020, 0)}-1`,
    "learned-3-1",
    "\u001b[2J",
    "-rf",
    "..\\x",
  ];

  function scene() {
    const path = mkdtempSync(join(tmpdir(), "pi-kimi-hostile-"));
    onTestFinished(() => rmSync(path, { recursive: true, force: true }));
    const folder = join(path, "account");
    mkdirSync(folder);
    const clock = createFakeClock(Date.now());
    clock.autoAdvance();
    const timer = { every: () => () => {} };
    const guard = createGuard({ path, clock, timer, random: () => 0, waiting: () => {} });
    return { folder, clock, place: guard("account", () => 2) };
  }

  test.each(Object.entries(STRANGE))("may hold %s instead of files", async (_, make) => {
    const { folder, clock, place } = scene();
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
    expect(left.filter((one) => /^(?:held|ticket|choosing)-/.test(one) && !NAMES.includes(one))).toEqual([]);
    for (const one of ["\u001b[2J", "-rf", "..\\x"]) expect(left).toContain(one);
  });

  test("may hold 20,000 names", async () => {
    const { folder, place } = scene();
    for (let index = 0; index < 20_000; index += 1) writeFileSync(join(folder, `pause-1-x${index}`), "");
    const begun = performance.now();
    await place.enter(undefined);
    place.release();
    expect(performance.now() - begun).toBeLessThan(3_000);
    expect(readdirSync(folder)).toHaveLength(20_000);
  });
});
