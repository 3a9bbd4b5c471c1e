/** The models of the simulated account: one of each kind that requests differ by. */
import { defaultModels, type ModelEntry, modelsOfSeptember2026 } from "../support/kimi-service/index.ts";

const listed = [...modelsOfSeptember2026, ...defaultModels];

function listedAs(id: string): ModelEntry {
  const model = listed.find((one) => one.id === id);
  if (model === undefined) throw new Error(`no model ${id}`);
  return model;
}

/** kimi-k2.6, which the documentation names, is not among them. */
export const models: readonly ModelEntry[] = [
  /** Toggle, efforts. */
  listedAs("kimi-for-coding"),
  /** Toggle, no efforts. */
  listedAs("kimi-for-coding-highspeed"),
  /** Always on, efforts. */
  listedAs("k3"),
  /** Always on, no efforts. */
  listedAs("kimi-k2-thinking"),
  {
    id: "kimi-plain",
    display_name: "Kimi Plain",
    context_length: 262_144,
    supports_reasoning: false,
    supports_image_in: false,
    supports_video_in: false,
    supports_thinking_type: "no",
  },
];
