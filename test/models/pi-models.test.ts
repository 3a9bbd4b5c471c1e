import { getSupportedThinkingLevels } from "@mariozechner/pi-ai";
import type { ProviderModelConfig } from "@mariozechner/pi-coding-agent";
import { beforeAll, describe, expect, test } from "vitest";
import { piModels as modelsFor, parseServerList, wireModel } from "../../extensions/models/list.ts";
import { modelsOfSeptember2026 } from "../support/kimi-service/defaults.ts";

const piModels = (list: Parameters<typeof modelsFor>[0], version = "1.6.0") => modelsFor(list, version);
const september = parseServerList({ data: modelsOfSeptember2026 });
const listing = (...data: readonly object[]) => parseServerList({ data });
const brief = (models: readonly ProviderModelConfig[]) =>
  models.map(({ id, contextWindow, maxTokens, reasoning, input }) => [
    id,
    contextWindow,
    maxTokens,
    reasoning,
    input.join(),
  ]);

/** The levels that a host offers of a model. */
const offered: Record<string, (model: ProviderModelConfig) => readonly unknown[]> = {};

beforeAll(async () => {
  const full = ({ thinkingLevelMap, compat: _, ...model }: ProviderModelConfig) => ({
    ...model,
    ...(thinkingLevelMap && { thinkingLevelMap }),
    api: "x",
    provider: "p",
    baseUrl: "",
  });
  offered["0.73.1"] = (model) => getSupportedThinkingLevels(full(model));
  const newer = await import(
    new URL("../hosts/node_modules/@earendil-works/pi-ai/dist/models.js", import.meta.url).href
  );
  offered["1.6.0"] = (model) => newer.getSupportedThinkingLevels(full(model));
});

function find(models: readonly ProviderModelConfig[], id: string): ProviderModelConfig {
  const found = models.find((model) => model.id === id);
  if (!found) throw new Error(`no model ${id}`);
  return found;
}

describe("the models for pi", () => {
  test("are the documented ones until the server was asked, and cost nothing", () => {
    const rest = [262_144, 32_768, true, "text,image"];
    expect(brief(piModels([]))).toEqual([
      ["kimi-for-coding", ...rest],
      ["kimi-k2.6", ...rest],
      ["kimi-k2-thinking", ...rest],
    ]);
    for (const model of piModels([]))
      expect(model.cost).toEqual({ input: 0, output: 0, cacheRead: 0, cacheWrite: 0 });
  });

  test("are the server's, and then the documented ones that it no longer lists, with what they are sent as", () => {
    expect(brief(piModels(september))).toEqual([
      ["kimi-for-coding", 1_048_576, 32_768, true, "text,image"],
      ["kimi-for-coding-highspeed", 262_144, 32_768, true, "text,image"],
      ["k3", 1_048_576, 131_072, true, "text,image"],
      ["k3-256k", 262_144, 131_072, true, "text,image"],
      ["kimi-k2.6", 1_048_576, 32_768, true, "text,image"],
      ["kimi-k2-thinking", 1_048_576, 32_768, true, "text,image"],
    ]);
    expect(find(piModels(september), "kimi-k2.6").name).toBe("Kimi K2.6, now Kimi for Coding");
  });

  test("never write more than they can read, and see only what they are said to see", () => {
    const models = piModels(listing({ id: "k3-mini", context_length: 8_192, supports_image_in: false }));
    expect(brief(models)[0]).toEqual(["k3-mini", 8_192, 8_192, false, "text"]);
  });

  test("take further tools in mid-session where the server says so, and as what they are sent as", () => {
    const flags = { supportsMidConvoSystemMessages: true, supportsMidConvoToolAdditions: true };
    const models = piModels(listing({ id: "k3", supports_dynamic_tools: true }, { id: "old" }));
    expect(find(models, "k3").compat).toMatchObject(flags);
    expect(find(models, "kimi-k2.6").compat).toMatchObject(flags);
    for (const model of [find(models, "old"), ...piModels([])])
      expect(model.compat).not.toHaveProperty("supportsMidConvoToolAdditions");
  });

  test.each([
    ["kimi-k3", 131_072],
    ["K3-256k", 131_072],
    ["kimi-k30", 32_768],
    ["tk3", 32_768],
  ])("%s writes at most %d tokens", (id, maxTokens) => {
    expect(piModels(listing({ id, context_length: 1_000_000 }))[0]?.maxTokens).toBe(maxTokens);
  });
});

const efforts = (...valid_efforts: readonly string[]) => ({
  think_efforts: { support: true, valid_efforts },
});
const both = { supports_thinking_type: "both" };
const only = { supports_thinking_type: "only" };

describe.each([
  ["0.73.1", "xhigh"],
  ["1.6.0", "max"],
])("the levels on pi %s", (name, largest) => {
  test.each([
    ["not known", undefined, ["off", "minimal", "low", "medium", "high"]],
    ["on and off", { ...both }, ["off", "high"]],
    ["always on", { ...only }, ["high"]],
    ["none", { supports_thinking_type: "no" }, ["off"]],
    ["three efforts", { ...both, ...efforts("low", "high", "max") }, ["off", "low", "high", largest]],
    ["three efforts, always on", { ...only, ...efforts("low", "high", "max") }, ["low", "high", largest]],
    ["low and high", { ...both, ...efforts("low", "high") }, ["off", "low", "high"]],
    ["low and max", { ...both, ...efforts("low", "max") }, ["off", "low", largest]],
  ])("of a model with thinking %s are those that differ", (_, entry, levels) => {
    const list = entry === undefined ? [] : listing({ id: "kimi-for-coding", ...entry });
    expect(offered[name]?.(find(piModels(list, name), "kimi-for-coding"))).toEqual(levels);
  });
});

describe("a model is sent", () => {
  test("as itself when the server lists it, with what it declares", () => {
    expect(wireModel(september, "k3")).toEqual({
      id: "k3",
      thinking: "only",
      efforts: ["low", "high", "max"],
      defaultEffort: "high",
    });
    expect(wireModel(listing({ id: "kimi-k2.6", ...both }), "kimi-k2.6").id).toBe("kimi-k2.6");
  });

  test("as kimi-for-coding when it is documented and no longer listed", () => {
    expect(wireModel(september, "kimi-k2-thinking")).toEqual(wireModel(september, "kimi-for-coding"));
  });

  test("as the first of the list when even that is gone", () => {
    const list = listing({ id: "k9", ...only }, { id: "k10" });
    for (const id of ["kimi-for-coding", "kimi-k2.6", "kimi-k2-thinking"])
      expect(wireModel(list, id)).toMatchObject({ id: "k9", thinking: "only" });
  });

  test("as it is called when nobody knows it, or before the server was asked", () => {
    expect(wireModel(september, "mine")).toEqual({ id: "mine", thinking: "both" });
    expect(wireModel([], "kimi-k2.6")).toEqual({ id: "kimi-k2.6", thinking: "both" });
  });
});
