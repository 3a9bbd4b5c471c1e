/** Who a request belongs to, and whether that process still lives: by its id and start, else by a sign of life. */
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { systemCode } from "../credentials/file.ts";

/** `silent`: it is there, or cannot be looked after, and has given no sign of life for too long. */
export type Life = "alive" | "silent" | "gone";

/** How often a process gives a sign of life for each of its requests, ms. */
export const SIGN_EVERY = 30_000;
/** Without one for this long a request does not count: its process is stopped, or on another machine, ms. */
const SILENT_AFTER = 120_000;
/** … and what nobody has touched for this long is rubbish, whoever's it was, ms. */
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
      if (where === place && !isThere(Number(owner), start)) return "gone";
      const silence = lastSign === undefined ? Number.POSITIVE_INFINITY : now - lastSign;
      if (silence > RUBBISH_AFTER) return "gone";
      return silence > SILENT_AFTER ? "silent" : "alive";
    },
  };
}

function isThere(pid: number, start: string | undefined): boolean {
  // Where there is no /proc, an id that was given to a new process is noticed by its silence.
  if (start !== NO_START) {
    const running = startOf(pid);
    return running === UNKNOWN || running === start;
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === "EPERM";
  }
}

const NO_START = "0";
const UNKNOWN = "unknown";

/** When the process was started, in the kernel's ticks since the boot; NO_START for none, for a zombie, and elsewhere than on Linux. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // proc(5): the name in parentheses may contain anything; the state follows it, 19 fields later the start.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? NO_START : (fields[19] ?? UNKNOWN);
  } catch (error) {
    return ["ENOENT", "ESRCH"].includes(systemCode(error)) ? NO_START : UNKNOWN;
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
