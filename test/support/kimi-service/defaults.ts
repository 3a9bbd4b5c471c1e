/** What an untouched service lists and counts: its models and its usages. */
import type { ModelEntry } from "./types.ts";

const efforts = { support: true, valid_efforts: ["low", "high", "max"], default_effort: "high" };

/** The three documented models, as the service listed them through K2.6. */
export const defaultModels: readonly ModelEntry[] = [
  {
    id: "kimi-for-coding",
    display_name: "Kimi for Coding (K2.6)",
    context_length: 262_144,
    supports_reasoning: true,
    supports_image_in: true,
    supports_video_in: true,
    supports_tool_use: true,
    supports_thinking_type: "both",
    think_efforts: efforts,
  },
  {
    id: "kimi-k2.6",
    display_name: "Kimi K2.6",
    context_length: 262_144,
    supports_reasoning: true,
    supports_image_in: true,
    supports_video_in: false,
    supports_tool_use: true,
    supports_thinking_type: "both",
  },
  {
    id: "kimi-k2-thinking",
    display_name: "Kimi K2 Thinking",
    context_length: 262_144,
    supports_reasoning: true,
    supports_image_in: true,
    supports_video_in: false,
    supports_tool_use: true,
    supports_thinking_type: "only",
  },
];

/** The list of September 2026 for a large plan. */
export const modelsOfSeptember2026: readonly ModelEntry[] = [
  {
    id: "kimi-for-coding",
    display_name: "Kimi for Coding",
    context_length: 1_048_576,
    supports_reasoning: true,
    supports_image_in: true,
    supports_video_in: true,
    supports_tool_use: true,
    supports_thinking_type: "both",
    think_efforts: efforts,
  },
  {
    id: "kimi-for-coding-highspeed",
    display_name: "Kimi for Coding Highspeed",
    context_length: 262_144,
    supports_reasoning: true,
    supports_image_in: true,
    supports_video_in: true,
    supports_tool_use: true,
    supports_thinking_type: "both",
  },
  {
    id: "k3",
    display_name: "K3",
    context_length: 1_048_576,
    supports_reasoning: true,
    supports_image_in: true,
    supports_video_in: true,
    supports_tool_use: true,
    supports_dynamic_tools: true,
    supports_thinking_type: "only",
    think_efforts: efforts,
  },
  {
    id: "k3-256k",
    display_name: "K3 256k",
    context_length: 262_144,
    supports_reasoning: true,
    supports_image_in: true,
    supports_video_in: false,
    supports_tool_use: true,
    supports_dynamic_tools: true,
    supports_thinking_type: "only",
    think_efforts: efforts,
  },
];

const HOUR = 3_600_000;

/** `GET /usages` in the older shape; `now` in ms. */
export function olderUsages(now: number): unknown {
  return {
    user: { membership: { level: "LEVEL_INTERMEDIATE" } },
    usage: { limit: "100", used: "26", remaining: "74", resetTime: isoTime(now + 100 * HOUR) },
    limits: [
      {
        window: { duration: 300, timeUnit: "TIME_UNIT_MINUTE" },
        detail: { limit: "100", used: "27", remaining: "73", resetTime: isoTime(now + 3 * HOUR) },
      },
    ],
    parallel: { limit: "30" },
  };
}

/** `GET /usages` in the newer shape; `now` in ms. */
export function newerUsages(now: number): unknown {
  return {
    usages: {
      limit_5h: { used_ratio: 0.27, reset_time: isoTime(now + 3 * HOUR) },
      limit_7d: { used_ratio: "0.26", reset_time: isoTime(now + 100 * HOUR) },
      limit_month_total: { used_ratio: 0.1, reset_time: isoTime(now + 500 * HOUR) },
      limit_month_code: { used_ratio: 0.08, reset_time: isoTime(now + 500 * HOUR) },
    },
    boosterWallet: {
      balance: { type: "BOOSTER", amount: "20000000000", amountLeft: "15000000000" },
      monthlyChargeLimitEnabled: true,
      monthlyChargeLimit: { currency: "USD", priceInCents: 2000 },
      monthlyUsed: { currency: "USD", priceInCents: 150 },
    },
  };
}

/** Fractions finer than ms, as the service writes them. */
function isoTime(at: number): string {
  return new Date(at).toISOString().replace("Z", "605Z");
}
