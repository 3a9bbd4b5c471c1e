/** A revoked access token in the two modes that sharing.test.ts leaves out: JSON and the terminal. */
import { expect, test } from "vitest";
import { hosts } from "../support/hosts.ts";
import { jsonPi, ourModel, streamed } from "../support/pi.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { enter } from "../support/typing.ts";
import { createWorld } from "../support/world.ts";

test.each(hosts)("pi $name repeats a rejected request in JSON mode without a trace of it", async (host) => {
  const { service, home, env, logInToKimiCli } = await createWorld();
  logInToKimiCli();
  service.revokeAccessToken();
  const { events, exitCode } = await jsonPi(host, home, ["hello"], env());
  expect(exitCode).toBe(0);
  expect(streamed(events, "text")).toBe("You said: hello");
  expect(JSON.stringify(events)).not.toMatch(/"stopReason":"error"|auto_retry/);
  expect(service.refreshes()).toHaveLength(1);
});

describeInTmux.each(hosts)("pi $name in a terminal", (host) => {
  test("repeats a rejected request without showing anything of it", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const pi = await startTmux(host, home, ourModel, env());
    try {
      await pi.waitFor("using kimi-cli credentials");
      service.revokeAccessToken();
      await enter(pi, "hello");
      expect(await pi.waitFor("You said: hello")).not.toMatch(/401|error|retrying/i);
      expect(service.refreshes()).toHaveLength(1);
    } finally {
      await pi.close();
    }
  });
});
