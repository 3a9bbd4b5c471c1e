/** Judges errors with what is loaded for that after the first answer, so that an update of our files finds it in memory. */
import type { Seen } from "../errors/classify.ts";
import { lazy, NOT_LOADED } from "../lazy.ts";
import type { Verdict } from "./judge-error.ts";

export interface Judge {
  /** Loads what it needs, unless that is there. */
  readonly prepare: () => void;
  /** What the adapter's error text means. Never rejects. */
  readonly judge: (text: string, seen: Seen) => Promise<Verdict>;
}

/** `now` in ms since the epoch. */
export function createJudge(now: () => number, load = () => import("./judge-error.ts")): Judge {
  const judging = lazy(load);
  return {
    prepare: () => void judging.load().catch(() => {}),
    async judge(text, seen) {
      try {
        const { judgeError } = await judging.load();
        return judgeError(text, new Date(now()), seen);
      } catch {
        return { kind: "unknown", sentence: NOT_LOADED, refusal: undefined };
      }
    },
  };
}
