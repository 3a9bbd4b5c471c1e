import { expect, test } from "vitest";
import { type ThinkingModel, thinkingFor } from "../../../extensions/chat/payload/shape.ts";

const all: ThinkingModel = { thinking: "both", efforts: ["low", "high", "max"] };

test.each([
  ["minimal", all, "low"],
  ["low", all, "low"],
  ["medium", all, "high"],
  ["high", all, "high"],
  ["xhigh", all, "max"],
  ["max", all, "max"],
  // The nearest, of two the higher one.
  ["max", { ...all, efforts: ["low", "high"] }, "high"],
  ["high", { ...all, efforts: ["low", "max"] }, "max"],
  // A model that cannot stop thinking: off is its own default.
  ["off", { ...all, thinking: "only", defaultEffort: "high" }, "high"],
  ["low", { ...all, thinking: "only", defaultEffort: "high" }, "low"],
] as const)("%s of %j is the effort %s", (level, model, effort) => {
  expect(JSON.stringify(thinkingFor(model, level))).toBe(
    JSON.stringify({ type: "enabled", effort, keep: "all" }),
  );
});

test("off is disabled where it can be, without effort", () => {
  for (const level of [undefined, "off"]) expect(thinkingFor(all, level)).toEqual({ type: "disabled" });
});

test("a model that declares no efforts gets none, one that cannot think is sent nothing", () => {
  const enabled = { type: "enabled", keep: "all" };
  expect(thinkingFor({ thinking: "both", efforts: [] }, "high")).toEqual(enabled);
  expect(thinkingFor({ thinking: "only" }, undefined)).toEqual(enabled);
  expect(thinkingFor({ ...all, thinking: "none" }, "high")).toBeUndefined();
});
