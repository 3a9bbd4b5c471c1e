/**
 * The queue of requests as a protocol over a folder: Lamport's bakery algorithm with `limit` places in place of one.
 * https://lamport.azurewebsites.net/pubs/bakery.pdf
 *
 * Whoever wants a place shows that it is choosing, takes a number above all it sees, shows it, and then counts: those
 * that hold a place, those with a smaller number, those that are still choosing. Fewer than `limit`: it enters. Of any
 * set of requests that are inside at once, the one with the largest number has counted all others, so there are never
 * more than `limit`; and nobody overtakes a smaller number. No lock, nothing to clean up but names of the dead.
 *
 * The steps are values, run by whoever has the folder: in one go in earnest, interleaved in tests. A listing may miss
 * or contain what is made or removed while it is taken, which is why there are two: what was choosing during the first
 * has its number by the second.
 */

export type Operation =
  | { readonly operation: "list" }
  | { readonly operation: "create" | "remove"; readonly name: string };

/** A procedure over the folder: it yields operations, and is given the names after a list, else nothing. */
export type Steps<T> = Generator<Operation, T, readonly string[]>;

export interface Ticket {
  /** Whose it is: unique; letters, digits and dots. */
  readonly id: string;
  readonly number: number;
}

export type Look =
  | { readonly state: "entered" }
  /** 1 = the next to enter. */
  | { readonly state: "waiting"; readonly position: number }
  /** Nobody may send before `until`, ms since the epoch. */
  | { readonly state: "paused"; readonly until: number };

/** What holds for everybody at the moment; no `limit` = as many as like. */
export interface Rules {
  readonly limit: number | undefined;
  readonly pausedUntil: number | undefined;
}

/** `name` is a file whose time shows the owner's last sign of life. */
export type IsDead = (id: string, name: string) => boolean;

const list = { operation: "list" } as const;
const create = (name: string) => ({ operation: "create", name }) as const;
const remove = (name: string) => ({ operation: "remove", name }) as const;

const choosingName = (id: string) => `choosing-${id}`;
const heldName = (id: string) => `held-${id}`;
export const ticketName = ({ number, id }: Ticket) => `ticket-${number}-${id}`;

/** The largest that NAME takes; whoever else has it is told apart by the id. */
const LAST_NUMBER = 999_999_999_999_999;
const NAME = /^(?:(choosing|held)|ticket-(\d{1,15}))-([\w.]+)$/;

/** Takes a number. */
export function* draw(id: string): Steps<Ticket> {
  yield create(choosingName(id));
  const { tickets } = read(yield list);
  const ticket = { id, number: Math.min(LAST_NUMBER, 1 + Math.max(0, ...tickets.values())) };
  yield create(ticketName(ticket));
  yield remove(choosingName(id));
  return ticket;
}

/** Looks whether it is this ticket's turn, and if so takes the place. */
export function* tryToEnter(
  own: Ticket,
  rulesIn: (names: readonly string[]) => Rules,
  isDead: IsDead,
): Steps<Look> {
  const before = yield list;
  const { limit, pausedUntil } = rulesIn(before);
  if (pausedUntil !== undefined) return { state: "paused", until: pausedUntil };
  if (limit !== undefined) {
    const { choosing } = read(before);
    const names = yield list;
    let ahead = countAhead(own, choosing, names);
    // Only where it matters: to look after processes costs more than all the rest.
    if (ahead.length >= limit) ahead = ahead.filter(({ id, name }) => !isDead(id, name));
    if (ahead.length >= limit) return { state: "waiting", position: ahead.length - limit + 1 };
  }
  yield create(heldName(own.id));
  return { state: "entered" };
}

/** Gives the place up and keeps the number. */
export function* stepBack({ id }: Ticket): Steps<void> {
  yield remove(heldName(id));
}

/** Leaves for good. In this order a request is counted until it has gone altogether. */
export function* leave(ticket: Ticket): Steps<void> {
  yield remove(heldName(ticket.id));
  yield remove(ticketName(ticket));
}

/** How many others hold a place. */
export function* countHeld({ id: own }: Ticket, isDead: IsDead): Steps<number> {
  const { held, tickets } = read(yield list);
  return [...held].filter((id) => id !== own && !isDead(id, nameOfHolder(id, tickets))).length;
}

/** Removes what `isGone` says has no owner any more. */
export function* sweep(isGone: IsDead): Steps<void> {
  for (const name of yield list) {
    const id = NAME.exec(name)?.[3];
    if (id !== undefined && isGone(id, name)) yield remove(name);
  }
}

/** Runs a procedure in one go. Throws what `perform` throws. */
export function runSteps<T>(steps: Steps<T>, perform: (operation: Operation) => readonly string[]): T {
  for (let step = steps.next(); ; ) {
    if (step.done) return step.value;
    step = steps.next(perform(step.value));
  }
}

interface Names {
  readonly choosing: ReadonlySet<string>;
  readonly held: ReadonlySet<string>;
  /** id → number. */
  readonly tickets: ReadonlyMap<string, number>;
}

function read(names: readonly string[]): Names {
  const choosing = new Set<string>();
  const held = new Set<string>();
  const tickets = new Map<string, number>();
  for (const name of names) {
    const [, kind, number, id] = NAME.exec(name) ?? [];
    if (id === undefined) continue;
    if (kind === undefined) tickets.set(id, Number(number));
    else (kind === "held" ? held : choosing).add(id);
  }
  return { choosing, held, tickets };
}

function countAhead(own: Ticket, choosing: ReadonlySet<string>, names: readonly string[]) {
  const { held, tickets } = read(names);
  const ahead = new Map<string, string>();
  for (const id of held) ahead.set(id, nameOfHolder(id, tickets));
  for (const id of choosing) if (!tickets.has(id)) ahead.set(id, choosingName(id));
  for (const [id, number] of tickets) {
    const isOlder = number < own.number || (number === own.number && id < own.id);
    if (isOlder) ahead.set(id, ticketName({ id, number }));
  }
  ahead.delete(own.id);
  return [...ahead].map(([id, name]) => ({ id, name }));
}

/** The file that shows the signs of life of one who holds a place: its ticket, wherever there is one. */
function nameOfHolder(id: string, tickets: Names["tickets"]): string {
  const number = tickets.get(id);
  return number === undefined ? heldName(id) : ticketName({ id, number });
}
