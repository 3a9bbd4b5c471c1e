import { describe, expect, test } from "vitest";
import { parseServerList } from "../../extensions/models/list.ts";

const list = (...data: readonly unknown[]) => parseServerList({ data });
const one = (entry: object) => list({ id: "m", supports_reasoning: true, ...entry })[0];

describe("the server's list", () => {
  test.each([
    [{ supports_thinking_type: "only" }, "only"],
    [{ supports_thinking_type: "no" }, "none"],
    [{ supports_thinking_type: "both", supports_reasoning: false }, "both"],
    [{ supports_thinking_type: "sometimes" }, "both"],
    [{ supports_reasoning: "yes" }, "none"],
  ])("reads %o as thinking %s", (entry, thinking) => {
    expect(one(entry)?.thinking).toBe(thinking);
  });

  test.each([
    [{ support: true, valid_efforts: ["max", "medium", "low", 7], default_effort: "high" }, ["low", "max"]],
    [{ support: false, valid_efforts: ["low"] }, []],
    [{ support: true }, []],
    ["low", []],
  ])("reads the efforts %o as %o, and no default that is not among them", (think_efforts, efforts) => {
    expect(one({ think_efforts })).toMatchObject({ efforts, defaultEffort: undefined });
    expect(one({ think_efforts, supports_thinking_type: "no" })?.efforts).toEqual([]);
  });

  test("loses junk only, and the second of two equal ids", () => {
    for (const body of [undefined, "x", {}, { data: {} }]) expect(parseServerList(body)).toEqual([]);
    const junk = [null, { id: "a b" }, { id: 7 }, { id: "\u001b[31mk3" }];
    const models = list(...junk, { id: "k3", display_name: "1" }, { id: "k3" }, { id: "k4" });
    expect(models.map(({ id, name }) => `${id} ${name}`)).toEqual(["k3 1", "k4 k4"]);
  });

  test.each([0, 1.5, 1e12, "262144"])("does not believe in a context of %o", (context_length) => {
    expect(one({ context_length })?.contextLength).toBe(262_144);
  });

  test("is bounded, and has names without terminal escapes", () => {
    expect(list(...Array.from({ length: 10_000 }, (_, index) => ({ id: `m${index}` })))).toHaveLength(64);
    expect(one({ display_name: " K\u001b]0;title\u0007\u001b[2J3\u202e\n\u0000 big " })?.name).toBe("K3 big");
    expect(one({ display_name: "\u001b[31m" })?.name).toBe("m");
    expect(one({ display_name: "x".repeat(10_000) })?.name).toBe(`${"x".repeat(59)}…`);
  });
});
