/** What an untouched service lists and counts: its models and its usages. */
import type { ModelEntry } from "./types.ts";

function model(id: string, display_name: string, more: Partial<ModelEntry>): ModelEntry {
  return {
    id,
    display_name,
    context_length: 262_144,
    supports_reasoning: true,
    supports_image_in: true,
    supports_video_in: false,
    ...more,
  };
}

const LARGE = { context_length: 1_048_576 };
const toggled = { supports_thinking_type: "both" } as const;
const alwaysOn = { supports_thinking_type: "only" } as const;
const withEfforts = {
  think_efforts: { support: true, valid_efforts: ["low", "high", "max"], default_effort: "high" },
};
const dynamic = { supports_dynamic_tools: true };

/** The three documented models, as the service listed them through K2.6. */
export const defaultModels: readonly ModelEntry[] = [
  model("kimi-for-coding", "Kimi for Coding (K2.6)", { ...toggled, ...withEfforts }),
  model("kimi-k2.6", "Kimi K2.6", toggled),
  model("kimi-k2-thinking", "Kimi K2 Thinking", alwaysOn),
];

/** The list of September 2026 for a large plan. */
export const modelsOfSeptember2026: readonly ModelEntry[] = [
  model("kimi-for-coding", "Kimi for Coding", { ...LARGE, ...toggled, ...withEfforts }),
  model("kimi-for-coding-highspeed", "Kimi for Coding Highspeed", toggled),
  model("k3", "K3", { ...LARGE, ...alwaysOn, ...withEfforts, ...dynamic }),
  model("k3-256k", "K3 256k", { ...alwaysOn, ...withEfforts, ...dynamic }),
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
