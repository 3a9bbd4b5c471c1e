import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { complete } from "../../extensions/commands.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";

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

test("an answer is whole also in a pipe that is full for the moment", async () => {
  const script = join(temporaryDirectory(), "say.mjs");
  const reply = new URL("../../extensions/reply.ts", import.meta.url).href;
  writeFileSync(
    script,
    `import { createReply } from ${JSON.stringify(reply)};
    process.stdout; // makes the pipe one that does not wait
    createReply({ hasUI: false }, () => false).say("x".repeat(3_000_000));`,
  );
  const jiti = fileURLToPath(new URL("../../node_modules/jiti/lib/jiti-cli.mjs", import.meta.url));
  const { stdout } = spawn(process.execPath, [jiti, script], { stdio: ["ignore", "pipe", "inherit"] });
  let length = 0;
  for await (const chunk of stdout) {
    if (length === 0) await pause(200);
    length += chunk.length;
  }
  expect(length).toBe(3_000_001);
});
