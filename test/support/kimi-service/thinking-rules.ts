/** Kimi's rules for the switches of thinking in a chat request, and whether they leave it on. */
import { isObject } from "./json.ts";
import type { JsonObject, ModelEntry } from "./types.ts";

/** What is wrong with `thinking` and `reasoning_effort`, or undefined. */
export function checkThinking(body: JsonObject, model: ModelEntry): string | undefined {
  const { reasoning_effort, thinking } = body;
  if (reasoning_effort !== undefined && !["low", "medium", "high"].some((one) => one === reasoning_effort)) {
    return "invalid reasoning_effort: must be one of low, medium, high";
  }
  if (thinking === undefined) return undefined;
  if (!isObject(thinking)) return "invalid thinking: must be an object";
  const { type, keep, effort, ...rest } = thinking;
  if (type !== "enabled" && type !== "disabled") {
    return "invalid thinking type: must be enabled or disabled";
  }
  const kind = thinkingKind(model);
  if (type === "disabled" && kind === "only")
    return `invalid thinking type: ${model.id} cannot be switched off`;
  if (type === "enabled" && kind === "no")
    return `invalid thinking type: ${model.id} does not support thinking`;
  if (keep !== undefined && keep !== "all") return "invalid thinking keep: only all is allowed";
  if (effort !== undefined) {
    const valid = model.think_efforts?.support ? model.think_efforts.valid_efforts : [];
    if (typeof effort !== "string" || !valid.includes(effort)) {
      return `invalid thinking effort: must be one of ${valid.join(", ") || "none for this model"}`;
    }
  }
  const [unknown] = Object.keys(rest);
  return unknown === undefined ? undefined : `invalid thinking: unknown field ${unknown}`;
}

/** Whether the answer to this request is thought about; on unless it is switched off or the model cannot. */
export function isThinkingOn(body: JsonObject, model: ModelEntry): boolean {
  const kind = thinkingKind(model);
  if (kind !== "both") return kind === "only";
  return !isObject(body.thinking) || body.thinking.type !== "disabled";
}

function thinkingKind(model: ModelEntry): "only" | "no" | "both" {
  return model.supports_thinking_type ?? (model.supports_reasoning ? "both" : "no");
}
