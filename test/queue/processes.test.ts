/** Many processes at once, each as slow as it likes at each step, some of them killed. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../extensions/lib/clock.ts";
import { createQueue } from "../../extensions/queue/queue.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";
import { moduleRunner, translatedOnce } from "../credentials/support/processes.ts";
import { start } from "../support/processes.ts";
import type { Script } from "./support/process.ts";

const PROCESS = join(import.meta.dirname, "support/process.ts");
const LIMIT = 2;

type Chances = Pick<Script, "death" | "refusal">;

/** Runs them to their end; what they wrote down, in the order in which it happened, and what is left in the folder. */
async function play(processes: number, requests: number, chances: Chances) {
  const path = temporaryDirectory();
  const log = join(path, "log");
  const ends = await Promise.all(
    Array.from({ length: processes }, (_, index) => {
      const script: Script = { path, log, name: `p${index}`, requests, limit: LIMIT, ...chances };
      const surroundings = {
        cwd: path,
        env: { PATH: process.env.PATH ?? "", ...translatedOnce },
        traced: false,
        timeoutMs: 25_000,
      };
      return start(process.execPath, [moduleRunner, PROCESS, JSON.stringify(script)], surroundings).finished;
    }),
  );
  expect(ends.map(({ stderr }) => stderr).join("")).toBe("");
  const events = readFileSync(log, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  return { path, folder: join(path, "account"), events, ends };
}

/** A request is counted from after it has entered until before it leaves, so that what is seen has really happened. */
function judge(events: readonly string[][]) {
  const inside = new Set<string>();
  /** Those that wait, and never gave a place back, in order. */
  const line: string[] = [];
  /** Those that waited before a request asked. */
  const before = new Map<string, readonly string[]>();
  const outcome = { mostInside: 0, overtaken: 0, served: 0 };
  for (const [what, name = "", request] of events) {
    const one = `${name} ${request}`;
    if (what === "asks") before.set(one, [...line]);
    if (what === "waits" && before.has(one) && !line.includes(one)) line.push(one);
    if (what === "enters") {
      if (line.includes(one)) line.splice(line.indexOf(one), 1);
      inside.add(one);
      outcome.mostInside = Math.max(outcome.mostInside, inside.size);
      const older = before.get(one)?.filter((other) => line.includes(other)) ?? [];
      if (inside.size + older.length > LIMIT) outcome.overtaken += 1;
      before.delete(one);
    }
    if (what === "leaves") outcome.served += 1;
    if (what === "leaves" || what === "refused" || what === "dies") inside.delete(one);
    if (what === "dies" && line.includes(one)) line.splice(line.indexOf(one), 1);
  }
  return outcome;
}

describe("requests of many processes", { timeout: 30_000 }, () => {
  test("are never more than the limit, come in order, and are all served, also those that are refused", async () => {
    const { folder, events } = await play(6, 12, { death: 0, refusal: 0.15 });
    expect(judge(events)).toMatchObject({ mostInside: LIMIT, overtaken: 0, served: 72 });
    expect(readdirSync(folder).filter((name) => !name.startsWith("pause-"))).toEqual([]);
  });

  test("also where processes are killed at any step, and whoever comes next clears up", async () => {
    const { path, folder, events, ends } = await play(12, 20, { death: 0.005, refusal: 0.02 });
    expect(ends.filter(({ signal }) => signal === "SIGKILL").length).toBeGreaterThan(2);
    expect(judge(events)).toMatchObject({ mostInside: LIMIT, overtaken: 0 });
    const queue = createQueue({
      path,
      limit: () => LIMIT,
      // In the processes time passes faster; a day from now each pause of theirs is over.
      clock: { ...systemClock, now: () => Date.now() + 86_400_000 },
      every: () => () => {},
      random: () => 0,
      waiting: () => {},
    });
    const place = queue.place("account");
    await place.enter(undefined);
    place.release();
    expect(readdirSync(folder).filter((name) => !name.startsWith("pause-"))).toEqual([]);
  });
});
