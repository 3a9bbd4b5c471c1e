/** The models of the coding plan, as pi wants to see them. */
import type { ProviderModelConfig } from "@mariozechner/pi-coding-agent";
import type { ThinkingModel } from "./request/thinking.ts";

const DOCUMENTED = [
  ["kimi-for-coding", "Kimi for Coding (K2.6)"],
  ["kimi-k2.6", "Kimi K2.6"],
  ["kimi-k2-thinking", "Kimi K2 Thinking"],
] as const;

/** The documented models. Costs are 0: the plan is paid by the month. */
export function documentedModels(): ProviderModelConfig[] {
  return DOCUMENTED.map(([id, name]) => ({
    id,
    name,
    reasoning: true,
    input: ["text", "image"],
    cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
    contextWindow: 262_144,
    maxTokens: 32_768,
    compat: {
      thinkingFormat: "zai",
      maxTokensField: "max_tokens",
      supportsDeveloperRole: false,
      supportsStore: false,
      supportsStrictMode: false,
      supportsReasoningEffort: false,
      requiresReasoningContentOnAssistantMessages: true,
    },
  }));
}

/** What the service calls a model, and how it thinks: the documented ones can all be switched on and off. */
export function wireModel(id: string): ThinkingModel & { readonly id: string } {
  return { id, thinking: "both" };
}
