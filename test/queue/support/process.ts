/**
 * A process that sends one request after another, as far as the queue can tell: each step in the folder takes a random
 * time, so that those of several processes mix, and now and then it is killed. It writes down what it does.
 */
import { appendFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { createQueue } from "../../../extensions/queue/queue.ts";
import { diskFolder } from "../../../extensions/queue/tickets.ts";

export interface Script {
  readonly path: string;
  readonly log: string;
  readonly name: string;
  readonly requests: number;
  readonly limit: number;
  /** How probable it is that a step is the last, and that a request is refused. */
  readonly death: number;
  readonly refusal: number;
}

/** How much faster time passes here. */
const SPEED = 30;

const script: Script = JSON.parse(process.argv[3] ?? "");
let request = "";
const say = (what: string) => appendFileSync(script.log, `${what} ${script.name} ${request}\n`);
const lock = new Int32Array(new SharedArrayBuffer(4));

/** Before and after each step, so that what it has seen may be the past. */
function step(): void {
  Atomics.wait(lock, 0, 0, Math.random() ** 6 * 20);
  if (Math.random() >= script.death) return;
  say("dies");
  process.kill(process.pid, "SIGKILL");
  // The signal need not have arrived when kill returns.
  Atomics.wait(lock, 0, 0, 10_000);
}

function slowFolder(path: string) {
  const real = diskFolder(path);
  const slowly =
    <A extends unknown[], R>(work: (...args: A) => R) =>
    (...args: A): R => {
      step();
      const result = work(...args);
      step();
      return result;
    };
  return {
    list: slowly(real.list),
    write: slowly(real.write),
    remove: slowly(real.remove),
    look: slowly(real.look),
  };
}

const begun = Date.now();
const sleep = (ms: number) => pause(Math.max(1, ms / SPEED));
const queue = createQueue({
  path: script.path,
  limit: () => script.limit,
  clock: { now: () => begun + (Date.now() - begun) * SPEED, sleep },
  every: () => () => {},
  random: Math.random,
  waiting: (what) => what && say("waits"),
  openFolder: slowFolder,
});

for (let index = 0; index < script.requests; index++) {
  request = `${index}`;
  say("asks");
  const place = queue.place("account");
  for (;;) {
    await place.enter(undefined);
    say("enters");
    // Longer than the looks of others, or two would meet by chance alone.
    await pause(20 + Math.random() * 20);
    if (Math.random() >= script.refusal) break;
    say("refused");
    place.refused({ concurrency: false, retryAfter: undefined });
  }
  say("leaves");
  place.served();
  place.release();
}
