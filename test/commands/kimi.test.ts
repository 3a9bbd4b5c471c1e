import { expect, test } from "vitest";
import { complete } from "../../extensions/commands.ts";

test.each([
  ["", ["status", "usage", "doctor", "tools"]],
  ["us", ["usage"]],
  // pi would take the completion at Enter, and not yet send the command.
  ["usage", []],
  ["doctor ", ["doctor --all", "doctor --json"]],
  ["doctor --a", ["doctor --all"]],
  ["doctor --all", []],
  ["doctor --all --", ["doctor --all --json"]],
  ["tools o", ["tools on", "tools off"]],
  ["tools on s", ["tools on search"]],
  ["nothing --", []],
])("completes %j", (typed, expected) => {
  expect(complete(typed).map(({ value }) => value)).toEqual(expected);
});
