/**
 * How pi's thinking level is said to Kimi: `thinking: {type, effort, keep}` and no other field.
 * kimi-code 2.1.0 sends exactly this; `reasoning_effort` and `enable_thinking` are ignored or refused by the service.
 */
export type Effort = "low" | "high" | "max";

export interface ThinkingModel {
  /** `supports_thinking_type` of the server's list: a toggle, always on, or no thinking at all. */
  readonly thinking: "both" | "only" | "none";
  /** What `think_efforts` declares; undefined or empty = the model takes no `effort`. */
  readonly efforts?: readonly Effort[] | undefined;
  readonly defaultEffort?: Effort | undefined;
}

export type Thinking =
  | { readonly type: "disabled" }
  /** `keep: "all"` lets the model see the reasoning of every earlier turn, which we send anyway. */
  | { readonly type: "enabled"; readonly effort?: Effort; readonly keep: "all" };

const SCALE: readonly Effort[] = ["low", "high", "max"];

/** Kimi's documented mapping from the wider scales of its clients; pi's levels but off. */
export const EFFORTS_OF_LEVELS = [
  ["minimal", "low"],
  ["low", "low"],
  ["medium", "high"],
  ["high", "high"],
  ["xhigh", "max"],
  ["max", "max"],
] as const;

const EFFORT_OF_LEVEL: ReadonlyMap<string, Effort> = new Map(EFFORTS_OF_LEVELS);

/**
 * What to send for pi's `level` ("off" or undefined = thinking off); undefined for a model that cannot think.
 * A model that cannot stop thinking is always enabled, then with the server's own default effort.
 */
export function thinkingFor(model: ThinkingModel, level: string | undefined): Thinking | undefined {
  if (model.thinking === "none") return undefined;
  const off = level === undefined || level === "off";
  if (off && model.thinking === "both") return { type: "disabled" };
  const effort = effortFor(model, off ? undefined : level);
  return effort === undefined ? { type: "enabled", keep: "all" } : { type: "enabled", effort, keep: "all" };
}

/** The declared effort nearest to what the level asks for; between two, the higher one, as pi clamps its levels. */
function effortFor(model: ThinkingModel, level: string | undefined): Effort | undefined {
  const declared = SCALE.filter((effort) => model.efforts?.includes(effort) === true);
  const asked = level === undefined ? undefined : EFFORT_OF_LEVEL.get(level);
  const wanted = asked ?? model.defaultEffort ?? "low";
  const distance = (effort: Effort) => Math.abs(SCALE.indexOf(effort) - SCALE.indexOf(wanted));
  return declared.reduce<Effort | undefined>(
    (best, effort) => (best === undefined || distance(effort) <= distance(best) ? effort : best),
    undefined,
  );
}
