import { describe, expect, test } from "vitest";
import { type Effort, thinkingFor } from "../../../extensions/chat/payload/shape.ts";

const all: readonly Effort[] = ["low", "high", "max"];

describe("pi's level becomes Kimi's effort", () => {
  test.each([
    ["minimal", "low"],
    ["low", "low"],
    ["medium", "high"],
    ["high", "high"],
    ["xhigh", "max"],
    ["max", "max"],
  ] as const)("%s is %s", (level, effort) => {
    expect(JSON.stringify(thinkingFor({ thinking: "both", efforts: all }, level))).toBe(
      JSON.stringify({ type: "enabled", effort, keep: "all" }),
    );
  });

  const nearest: readonly (readonly [level: string, declared: readonly Effort[], sent: Effort])[] = [
    ["max", ["low", "high"], "high"],
    ["minimal", ["high", "max"], "high"],
    ["high", ["low", "max"], "max"],
    ["max", ["low"], "low"],
  ];
  test.each(nearest)("%s of %j is %s", (level, efforts, effort) => {
    expect(thinkingFor({ thinking: "both", efforts }, level)).toEqual({
      type: "enabled",
      effort,
      keep: "all",
    });
  });
});

test.each([undefined, "off"])("off (%s) is disabled, without effort", (level) => {
  expect(thinkingFor({ thinking: "both", efforts: all }, level)).toEqual({ type: "disabled" });
});

test("a model that declares no efforts gets none", () => {
  for (const efforts of [undefined, []]) {
    expect(thinkingFor({ thinking: "both", efforts }, "high")).toEqual({ type: "enabled", keep: "all" });
  }
});

test("a model that cannot stop thinking is always enabled, off being its own default", () => {
  const model = { thinking: "only", efforts: all, defaultEffort: "high" } as const;
  expect(thinkingFor(model, "off")).toEqual({ type: "enabled", effort: "high", keep: "all" });
  expect(thinkingFor(model, "low")).toEqual({ type: "enabled", effort: "low", keep: "all" });
  expect(thinkingFor({ thinking: "only" }, undefined)).toEqual({ type: "enabled", keep: "all" });
});

test("a model that cannot think is sent nothing about it", () => {
  expect(thinkingFor({ thinking: "none", efforts: all }, "high")).toBeUndefined();
});
