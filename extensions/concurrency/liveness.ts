/** Who a request belongs to, and whether that process still lives: by its id and start, else by a sign of life. */
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { systemCode } from "../credentials/file.ts";

/** `silent`: it is there, but stopped, or cannot be looked at, and has given no sign of life for too long. */
export type Life = "alive" | "silent" | "gone";

/** `unknown`: on another machine, in another namespace, or where the system does not say when a process started. */
export type ProcessState = "running" | "stopped" | "ended" | "unknown";

/** How often a process gives a sign of life for each of its requests, ms. */
export const SIGN_EVERY = 30_000;
/** Without one for this long a request does not count where its process does not decide, ms. */
const SILENT_AFTER = 120_000;
/** … and what nobody has touched for this long is rubbish, where the process cannot be looked at, ms. */
const RUBBISH_AFTER = 86_400_000;

export interface Liveness {
  /** A new id that says which process it belongs to. */
  readonly newId: () => string;
  /** `lastSign` in ms since the epoch; undefined where the file is not there any more. */
  readonly judge: (id: string, lastSign: number | undefined, now: number) => Life;
}

/** For the process `pid`; ids look like `<place>.<pid>.<start>.<random>`. */
export function createLiveness(pid = process.pid): Liveness {
  const place = thisPlace();
  const ownStart = startOf(pid);
  return {
    newId: () => `${place}.${pid}.${ownStart}.${randomBytes(5).toString("hex")}`,
    judge(id, lastSign, now) {
      const [where, owner, start] = id.split(".");
      return judgeLife(where === place ? lookAt(Number(owner), start) : "unknown", lastSign, now);
    },
  };
}

/**
 * What its process, and the time of its file (ms since the epoch), say of a request. The clock may be set at any time
 * and stands still while a machine sleeps, so where the process is known to run it alone decides.
 */
export function judgeLife(state: ProcessState, lastSign: number | undefined, now: number): Life {
  if (state === "ended") return "gone";
  // A file that has gone since it was listed: the owner may have moved on to a ticket, which the next look shows.
  if (state === "running" || lastSign === undefined) return "alive";
  const silence = now - lastSign;
  if (state === "unknown" && silence > RUBBISH_AFTER) return "gone";
  // A sign that is still to come was given before the clock was set back.
  return Math.abs(silence) > SILENT_AFTER ? "silent" : "alive";
}

function lookAt(pid: number, start: string | undefined): ProcessState {
  if (start !== NO_START) {
    const running = readStat(pid);
    if (running === undefined) return "unknown";
    if (running.start !== start) return "ended";
    return /[Tt]/.test(running.state) ? "stopped" : "running";
  }
  // Where there is no /proc, an id that was given to a new process is noticed by its silence.
  try {
    process.kill(pid, 0);
    return "unknown";
  } catch (error) {
    return systemCode(error) === "EPERM" ? "unknown" : "ended";
  }
}

const NO_START = "0";

/** When the process was started, in the kernel's ticks since the boot; NO_START where nobody can tell, as elsewhere than on Linux. */
function startOf(pid: number): string {
  return readStat(pid)?.start ?? NO_START;
}

/** proc(5)'s letter for what the process does, and its start; NO_START for none, and for a zombie. Undefined where it cannot be read. */
function readStat(pid: number): { readonly state: string; readonly start: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may contain anything; the state follows it, 19 fields later the start.
    const [state = "", ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const start = /[ZX]/.test(state) ? NO_START : fields[18];
    return start === undefined ? undefined : { state, start };
  } catch (error) {
    return ["ENOENT", "ESRCH"].includes(systemCode(error)) ? { state: "", start: NO_START } : undefined;
  }
}

/** Process ids mean something only among those who share them: one machine, one PID namespace. */
function thisPlace(): string {
  let namespace = "";
  try {
    namespace = readlinkSync("/proc/self/ns/pid");
  } catch {
    // Not on Linux.
  }
  return createHash("sha256").update(`${hostname()}\n${namespace}`).digest("hex").slice(0, 8);
}
