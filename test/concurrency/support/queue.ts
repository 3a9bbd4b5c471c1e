/** Many processes over one folder in memory, whose steps are interleaved, and which are killed, at random. */
import { judgeLife, type Life } from "../../../extensions/concurrency/liveness.ts";
import {
  draw,
  leave,
  type Operation,
  type Rules,
  type Steps,
  stepBack,
  sweep,
  type Ticket,
  tryToEnter,
} from "../../../extensions/concurrency/tickets.ts";

/** Longer than anybody is given to be silent, ms; what is left of the dead is not yet rubbish. */
const SILENT = 200_000;

/** A listing under way: it may or may not contain what is touched before it ends (readdir(3)). */
interface Listing {
  readonly before: ReadonlySet<string>;
  readonly touched: Set<string>;
}

interface Worker {
  readonly id: string;
  readonly life: Generator<Operation, void, readonly string[]>;
  next: Operation | undefined;
  listing: Listing | undefined;
  ticket: Ticket | undefined;
  begun: number;
  drawnAt: number;
  inside: boolean;
  steppedBack: boolean;
  ended: boolean;
}

export interface Outcome {
  readonly mostInside: number;
  /** Entered although a request that had its number before this one came had no room left. */
  readonly overtaken: number;
  readonly finished: boolean;
  readonly left: readonly string[];
}

export interface Scene {
  readonly workers: number;
  readonly limit: number;
  /** How probable it is that a step is a death, and that a place is given back after a refusal. */
  readonly death: number;
  readonly refusal: number;
  /** In [0, 1). */
  readonly random: () => number;
}

export function play({ workers: count, limit, death, refusal, random }: Scene): Outcome {
  const names = new Set<string>();
  const dead = new Set<string>();
  /** Those whose look at another's file is under way. */
  const looking = new Set<Worker>();
  const rules = (): Rules => ({ limit, pausedUntil: undefined });
  let time = 0;
  let mostInside = 0;
  let overtaken = 0;

  function* live(me: Worker): Generator<Operation, void, readonly string[]> {
    me.begun = time;
    const ticket = yield* draw(me.id);
    me.ticket = ticket;
    me.drawnAt = time;
    for (let again = true; again; ) {
      while (
        (yield* tryToEnter(ticket, rules, (id, name) => judge(me, id, name) !== "alive")).state !== "entered"
      ) {
        if (random() < 0.1) yield* sweep((id, name) => judge(me, id, name) === "gone");
      }
      me.inside = true;
      check(me);
      for (let work = Math.floor(random() * 12); work > 0; work--) yield* idle();
      again = random() < refusal;
      me.inside = false;
      if (again) {
        me.steppedBack = true;
        yield* stepBack(ticket);
      }
    }
    yield* leave(ticket);
  }

  const workers: Worker[] = [];
  for (let index = 0; index < count; index++) {
    const worker: Worker = {
      id: `p${index}`,
      life: later(() => live(worker)),
      next: undefined,
      listing: undefined,
      ticket: undefined,
      begun: 0,
      drawnAt: Number.POSITIVE_INFINITY,
      inside: false,
      steppedBack: false,
      ended: false,
    };
    workers.push(worker);
  }

  function check(me: Worker): void {
    const inside = workers.filter((one) => one.inside);
    mostInside = Math.max(mostInside, inside.length);
    const before = workers.filter(
      (one) =>
        !one.ended && !one.inside && !one.steppedBack && one.ticket !== undefined && one.drawnAt < me.begun,
    );
    if (!me.steppedBack && inside.length + before.length > limit) overtaken += 1;
  }

  /** What liveness says; the others go on between the listing and this, and some processes cannot be looked at. */
  function judge(me: Worker, id: string, name: string): Life {
    looking.add(me);
    for (let steps = Math.floor(random() * 4); steps > 0; steps--) stepAny();
    looking.delete(me);
    const ended = dead.has(id);
    if (Number(id.slice(1)) % 2 === 0)
      return judgeLife(ended ? "ended" : "running", names.has(name) ? 0 : undefined, 0);
    return judgeLife("unknown", names.has(name) ? (ended ? -SILENT : 0) : undefined, 0);
  }

  function touch(name: string): void {
    for (const { listing } of workers) listing?.touched.add(name);
  }

  /** What the operation answers; undefined while a listing goes on. */
  function perform(me: Worker, operation: Operation): readonly string[] | undefined {
    if (operation.operation !== "list") {
      if (operation.operation === "create") names.add(operation.name);
      else names.delete(operation.name);
      touch(operation.name);
      return [];
    }
    if (!me.listing) {
      me.listing = { before: new Set(names), touched: new Set() };
      return undefined;
    }
    const { before, touched } = me.listing;
    me.listing = undefined;
    const all = new Set([...before, ...touched]);
    return [...all].filter((name) => (touched.has(name) ? random() < 0.5 : true));
  }

  function step(me: Worker): void {
    if (random() < death) {
      me.ended = true;
      me.inside = false;
      me.listing = undefined;
      dead.add(me.id);
      return;
    }
    const answer = me.next ? perform(me, me.next) : [];
    if (!answer) return;
    const { done, value } = me.life.next(answer);
    me.next = done ? undefined : value;
    me.ended = done === true;
  }

  function stepAny(): boolean {
    const living = workers.filter((one) => !one.ended && !looking.has(one));
    const chosen = living[Math.floor(random() * living.length)];
    if (!chosen) return false;
    time += 1;
    step(chosen);
    return true;
  }

  while (time < count * 20_000 && stepAny());
  // Whoever comes next clears up.
  for (const name of names) if (dead.has(name.slice(name.lastIndexOf("-") + 1))) names.delete(name);
  return { mostInside, overtaken, finished: workers.every(({ ended }) => ended), left: [...names] };
}

/** A step that does nothing to the folder. */
function* idle(): Steps<void> {
  yield { operation: "remove", name: "nothing" };
}

/** So that a generator may speak of the worker it belongs to. */
function* later<T>(make: () => Generator<Operation, T, readonly string[]>) {
  return yield* make();
}

/** Numbers in [0, 1) that `seed` determines (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
