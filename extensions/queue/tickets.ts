/**
 * The requests of an account as files in a folder that all processes see: a small file for each, its ticket, numbered in
 * the order in which they came. There is neither a lock nor a daemon; what a dead process leaves behind is recognised by
 * the process that is part of its name.
 *
 * A ticket takes a place while it is empty; one of a byte waits. Whoever wants to send first takes a place, then looks,
 * and gives the place up where too many are taken. So there are never more than the limit: of those that are being sent,
 * the last to look has seen the places of all others. The numbers only decide who may take a place that is free.
 */
import { createHash, randomUUID } from "node:crypto";
import {
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { systemCode } from "../lib/json.ts";
import { makeFolder } from "../lib/owner.ts";

/** All calls are synchronous. */
export interface Folder {
  /** Makes the folder where it is missing. Throws what the system says. */
  readonly list: () => readonly string[];
  /** Makes the file, or writes it anew. Throws what the system says. */
  readonly write: (name: string, waits: boolean) => void;
  /** Never throws: a file that cannot be removed stays. */
  readonly remove: (name: string) => void;
  /** Undefined where it is gone. Never throws. */
  readonly look: (name: string) => Look | undefined;
}

interface Look {
  readonly waits: boolean;
  /** When it was last written, ms since the epoch. */
  readonly writtenAt: number;
}

export function diskFolder(path: string): Folder {
  return {
    list() {
      makeFolder(path, 0o700);
      return readdirSync(path);
    },
    write(name, waits) {
      const file = join(path, name);
      writeFileSync(file, "", { mode: 0o600 });
      // A hole, for which a full disk has room.
      if (waits) truncateSync(file, 1);
    },
    remove: (name) => quietly(() => unlinkSync(join(path, name))),
    look: (name) =>
      quietly(() => {
        const { size, mtimeMs } = lstatSync(join(path, name));
        return { waits: size > 0, writtenAt: mtimeMs };
      }),
  };
}

/** In place of a folder that cannot be used: other processes do not see it. */
export function privateFolder(): Folder {
  const names = new Set<string>();
  return {
    list: () => [...names],
    write: (name) => void names.add(name),
    remove: (name) => void names.delete(name),
    look: () => undefined,
  };
}

function quietly<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

export interface Ticket {
  /** The file's name. */
  readonly name: string;
  readonly number: number;
  /** Unique, made of letters, digits and dots; begins with `ownerOf` its process. */
  readonly id: string;
}

/** A ticket as others see it. */
export interface Standing extends Ticket {
  /** Whether its request may not be sent yet. */
  readonly waits: boolean;
}

const NAME = /^request-(\d{1,15})-([\w.]+)$/;
const LARGEST = 999_999_999_999_999;

/** Makes a ticket behind all others, which takes a place. Throws what the system says. */
export function draw(folder: Folder): Ticket {
  const numbers = folder.list().map((name) => readTicket(name)?.number ?? 0);
  const number = Math.min(LARGEST, Math.max(0, ...numbers) + 1);
  const id = `${ownerOf(process.pid)}.${randomUUID().slice(0, 8)}`;
  const ticket = { name: `request-${number}-${id}`, number, id };
  folder.write(ticket.name, false);
  return ticket;
}

/** The tickets of the living among `names`, without `own`; those of the dead are removed. `now` in ms since the epoch. */
export function othersThan(
  own: Ticket,
  names: readonly string[],
  folder: Folder,
  now: number,
): readonly Standing[] {
  const others: Standing[] = [];
  for (const name of names) {
    const ticket = readTicket(name);
    if (ticket === undefined || name === own.name) continue;
    const seen = folder.look(name);
    // It has left since it was listed.
    if (seen === undefined) continue;
    if (isAlive(ticket.id, seen.writtenAt, now)) others.push({ ...ticket, waits: seen.waits });
    else folder.remove(name);
  }
  return others;
}

function readTicket(name: string): Ticket | undefined {
  const [, number, id] = NAME.exec(name) ?? [];
  return id === undefined ? undefined : { name, number: Number(number), id };
}

/** How often a process gives a sign of life for each of its requests, in ms. */
export const SIGN_EVERY = 30_000;
/** How long a process without a sign of life counts as alive where nothing else tells, in ms. */
const SILENT_AFTER = 120_000;

/**
 * Whether the process of `id` lives. The clock may be set at any time and stands still while a machine sleeps, so where
 * the process is seen to run, that decides. Where it is stopped, on another machine or in another container, or where
 * the system does not tell processes apart that had the same number, its last sign does (both in ms since the epoch); a
 * sign from the future was given before the clock was set back.
 */
export function isAlive(id: string, lastSign: number, now: number): boolean {
  const [where, pid, start] = id.split(".");
  const state = where === thisPlace() ? lookAt(Number(pid), start) : "unknown";
  return state === "unknown" ? Math.abs(now - lastSign) <= SILENT_AFTER : state === "running";
}

/** What the ids of a process's requests begin with. */
export function ownerOf(pid: number): string {
  return `${thisPlace()}.${pid}.${readStat(pid)?.start ?? NO_START}`;
}

/** In place of the time at which a process was started, where the system does not tell it. */
const NO_START = "0";

function lookAt(pid: number, start: string | undefined): "running" | "ended" | "unknown" {
  const stat = start === NO_START ? undefined : readStat(pid);
  if (stat) {
    if (stat.start !== start || /[ZX]/.test(stat.state)) return "ended";
    return /[Tt]/.test(stat.state) ? "unknown" : "running";
  }
  try {
    process.kill(pid, 0);
    return "unknown";
  } catch (error) {
    return systemCode(error) === "EPERM" ? "unknown" : "ended";
  }
}

/**
 * The letter for the state of a process and when it was started, in the kernel's ticks since the boot (proc(5)).
 * Undefined where it cannot be read.
 */
function readStat(pid: number): { readonly state: string; readonly start: string } | undefined {
  const stat = quietly(() => readFileSync(`/proc/${pid}/stat`, "latin1"));
  // The name in parentheses may contain anything; the state follows it, 19 fields later the start.
  const [state = "", ...fields] = stat?.slice(stat.lastIndexOf(")") + 2).split(" ") ?? [];
  const start = fields[18];
  return start === undefined ? undefined : { state, start };
}

let place: string | undefined;

/** Names what process ids belong to: this machine, and on Linux the PID namespace. */
function thisPlace(): string {
  const namespace = () => quietly(() => readlinkSync("/proc/self/ns/pid")) ?? "";
  place ??= createHash("sha256").update(`${hostname()}\n${namespace()}`).digest("hex").slice(0, 8);
  return place;
}

export interface Refusal {
  /** Too many at once, in contrast to too many in a time. */
  readonly concurrency: boolean;
  /** How long the service asks to wait, ms. */
  readonly retryAfter: number | undefined;
}

/** What holds for everybody at the moment. */
export interface Rules {
  /** How many requests there may be at once, 1 or more; undefined = any number. */
  readonly limit: number | undefined;
  /** The pause that ends last, or ended last: no request is sent before its end. */
  readonly pause: Pause | undefined;
  /** The notes of pauses that are over: a success after them shows that the next pause may be short again. */
  readonly endedPauses: readonly string[];
  /** The notes that mean nothing any more. */
  readonly outdated: readonly string[];
}

export interface Pause {
  /** ms since the epoch. */
  readonly until: number;
  /** How long it was, ms, where the service did not ask for more. */
  readonly length: number;
}

/** Shortest pause, also where the service asks for less, in ms. Until one request goes well, the next is twice as long … */
const FIRST_PAUSE = 1_000;
/** … up to this, in ms. */
const LONGEST_PAUSE = 15_000;
/** Longest wait that is imposed on all processes, in ms; a longer one is shown to the user instead. */
export const LONGEST_SHARED_WAIT = 60_000;
/** Interval after which a learned limit is tried one higher, in ms. */
const LEARNED_GROWS = 60_000;
/** How long a learned limit holds, in ms: another program of the account may have been the reason for it. */
const LEARNED_FOR = 600_000;
/** Tolerance for times that lie in the future, in ms. A note from further ahead was written before the clock was set back. */
const AHEAD = 1_000;

const NOTE = /^(pause|learned)-(\d{1,15})-(\d{1,15})$/;

/** The rules that `names` make at `now` (ms since the epoch); `known` is the limit that is configured or on the plan. */
export function readRules(names: readonly string[], now: number, known: number | undefined): Rules {
  const limits = known === undefined ? [] : [known];
  const endedPauses: string[] = [];
  const outdated: string[] = [];
  let pause: Pause | undefined;
  for (const name of names) {
    const [, kind, ...numbers] = NOTE.exec(name) ?? [];
    const [first = 0, second = 0] = numbers.map(Number);
    if (kind === "learned") {
      const age = now - second;
      if (age < LEARNED_FOR && age >= -AHEAD) limits.push(first + Math.floor(age / LEARNED_GROWS));
      else outdated.push(name);
    }
    if (kind === "pause") {
      if (first > now + LONGEST_SHARED_WAIT + AHEAD) outdated.push(name);
      else if (!pause || first > pause.until) pause = { until: first, length: second };
      if (first <= now) endedPauses.push(name);
    }
  }
  const limit = limits.length === 0 ? undefined : Math.max(1, Math.floor(Math.min(...limits)));
  return { limit, pause, endedPauses, outdated };
}

/**
 * The note that makes everybody wait after a refusal; undefined where the `last` one suffices, or where the service
 * asks for more than LONGEST_SHARED_WAIT. `sentAt`: when the refused request was sent; requests that were under way
 * together lengthen the pause once.
 */
export function pauseAfter(
  last: Pause | undefined,
  { retryAfter = 0 }: Refusal,
  now: number,
  sentAt: number,
): string | undefined {
  if (retryAfter > LONGEST_SHARED_WAIT) return undefined;
  const sameWave = last !== undefined && sentAt < last.until;
  if (sameWave && now + retryAfter <= last.until) return undefined;
  const doubled = last === undefined ? FIRST_PAUSE : sameWave ? last.length : 2 * last.length;
  const length = Math.min(LONGEST_PAUSE, doubled);
  return `pause-${Math.ceil(now + Math.max(retryAfter, length))}-${length}`;
}

/** The note that `held` others were under way at `now` when one more was refused. */
export function learnedLimit(held: number, now: number): string {
  return `learned-${Math.max(1, held)}-${now}`;
}
