import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseServerList, toServerList } from "../../extensions/models/server-list.ts";
import { modelsOfSeptember2026 } from "../support/kimi-service/defaults.ts";

const list = (...data: readonly unknown[]) => parseServerList({ data });
const one = (entry: object) => list({ id: "m", supports_reasoning: true, ...entry })[0];

describe("the server's list", () => {
  test("of September 2026 is read as it is meant", () => {
    const efforts = ["low", "high", "max"];
    expect(parseServerList({ data: modelsOfSeptember2026 })).toEqual([
      {
        id: "kimi-for-coding",
        name: "Kimi for Coding",
        contextLength: 1_048_576,
        image: true,
        thinking: "both",
        efforts,
        defaultEffort: "high",
      },
      {
        id: "kimi-for-coding-highspeed",
        name: "Kimi for Coding Highspeed",
        contextLength: 262_144,
        image: true,
        thinking: "both",
        efforts: [],
        defaultEffort: undefined,
      },
      {
        id: "k3",
        name: "K3",
        contextLength: 1_048_576,
        image: true,
        thinking: "only",
        efforts,
        defaultEffort: "high",
      },
      {
        id: "k3-256k",
        name: "K3 256k",
        contextLength: 262_144,
        image: true,
        thinking: "only",
        efforts,
        defaultEffort: "high",
      },
    ]);
  });

  test.each([
    [{ supports_thinking_type: "only" }, "only"],
    [{ supports_thinking_type: "no" }, "none"],
    [{ supports_thinking_type: "both", supports_reasoning: false }, "both"],
    [{ supports_thinking_type: "sometimes" }, "both"],
    [{}, "both"],
    [{ supports_reasoning: false }, "none"],
    [{ supports_reasoning: "yes" }, "none"],
  ])("reads %o as thinking %s", (entry, thinking) => {
    expect(one(entry)?.thinking).toBe(thinking);
  });

  test.each([
    [{ support: true, valid_efforts: ["max", "medium", "low", "low", 7] }, ["low", "max"]],
    [{ support: false, valid_efforts: ["low"] }, []],
    [{ support: true }, []],
    ["low", []],
  ])("reads the efforts %o as %o", (think_efforts, efforts) => {
    expect(one({ think_efforts })?.efforts).toEqual(efforts);
  });

  test("declares no default that is not among the efforts, and no efforts where nothing is thought", () => {
    const think_efforts = { support: true, valid_efforts: ["low"], default_effort: "max" };
    expect(one({ think_efforts })?.defaultEffort).toBeUndefined();
    expect(one({ think_efforts, supports_thinking_type: "no" })?.efforts).toEqual([]);
  });

  test.each([
    undefined,
    null,
    "x",
    7,
    [],
    {},
    { data: {} },
    { data: [null, 1, "k3", [], {}, { id: 7 }, { id: "" }] },
  ])("is empty for %o", (body) => {
    expect(parseServerList(body)).toEqual([]);
  });

  test("loses junk only, and the second of two equal ids", () => {
    const models = list(
      null,
      { id: "a b" },
      { id: "\u001b[31mk3" },
      { id: "k3", display_name: "1" },
      { id: "k3" },
      { id: "k4" },
    );
    expect(models.map(({ id, name }) => [id, name])).toEqual([
      ["k3", "1"],
      ["k4", "k4"],
    ]);
  });

  test.each([0, -1, 1.5, Number.NaN, 1e12, "262144", null])(
    "does not believe in a context of %o",
    (context_length) => {
      expect(one({ context_length })?.contextLength).toBe(262_144);
    },
  );

  test("shows names without terminal escapes, on one line, of bounded length", () => {
    expect(one({ display_name: " K\u001b]0;title\u0007\u001b[2J3\u202e\n\u0000 big " })?.name).toBe("K3 big");
    expect(one({ display_name: "\u001b[31m" })?.name).toBe("m");
    expect(one({ display_name: "x".repeat(10_000) })?.name).toBe(`${"x".repeat(59)}…`);
  });

  test("is bounded", () => {
    expect(
      parseServerList({ data: Array.from({ length: 10_000 }, (_, index) => ({ id: `m${index}` })) }),
    ).toHaveLength(64);
  });

  test("of any JSON is a list of models that can be offered, and survives being kept", () => {
    const entry = fc.record(
      {
        id: fc.oneof(fc.constantFrom("k3", "kimi-for-coding", "kimi/x:y"), fc.jsonValue()),
        display_name: fc.oneof(fc.string({ unit: "binary" }), fc.jsonValue()),
        context_length: fc.oneof(fc.integer(), fc.double(), fc.jsonValue()),
        supports_reasoning: fc.oneof(fc.boolean(), fc.jsonValue()),
        supports_image_in: fc.oneof(fc.boolean(), fc.jsonValue()),
        supports_thinking_type: fc.oneof(fc.constantFrom("only", "no", "both"), fc.jsonValue()),
        think_efforts: fc.oneof(
          fc.record({
            support: fc.boolean(),
            valid_efforts: fc.array(fc.constantFrom("low", "medium", "high", "max")),
            default_effort: fc.constantFrom("low", "high", 1),
          }),
          fc.jsonValue(),
        ),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(fc.record({ data: fc.array(entry) }), fc.jsonValue()), (body) => {
        const models = parseServerList(body);
        for (const { id, name, contextLength } of models) {
          expect(id).toMatch(/^[\x21-\x7e]{1,100}$/);
          expect(name).toMatch(/^\P{C}{1,60}$/u);
          expect(Number.isInteger(contextLength) && contextLength > 0).toBe(true);
        }
        expect(parseServerList(JSON.parse(JSON.stringify(toServerList(models))))).toEqual(models);
      }),
    );
  });
});
