/** What a person, or an orchestrator, is told while a request waits. */
import { sayTime } from "../errors/waiting-time.ts";
import type { Waiting } from "./guard.ts";

/** One line; `now` in ms since the epoch. */
export function sayWaiting(waiting: Waiting, now: number): string {
  if (waiting.for === "place")
    return `Kimi Coder: waits for other requests of this account, number ${waiting.position} in line`;
  const seconds = Math.max(1, Math.ceil((waiting.until - now) / 1000));
  return `Kimi Coder: waits until ${sayTime(waiting.until, new Date(now))} as Kimi has too many requests (${seconds} s)`;
}
