/** A prompt that does not fit, where pi has nothing left to compact and would end without a word. */
import { expect, test } from "vitest";
import { hosts } from "../support/hosts.ts";
import { refusals } from "../support/kimi-service/index.ts";
import { printPi } from "../support/pi.ts";
import { createLoggedInWorld } from "../support/world.ts";

test.each(hosts)("pi $name says on stderr that a prompt exceeds the context", async (host) => {
  const { service, home, env } = await createLoggedInWorld();
  service.fault({ path: "chat", times: Number.POSITIVE_INFINITY, do: refusals.overflow(262_144) });
  const { stderr } = await printPi(host, home, ["hello"], env());
  expect(stderr).toMatch(/^Kimi Coder: this request exceeds the context window of the model; [^\n]*\n$/);
});

test.each(hosts)("pi $name says nothing of an overflow that it has recovered from", async (host) => {
  const { service, home, env } = await createLoggedInWorld();
  home.write(".pi/agent/settings.json", JSON.stringify({ compaction: { keepRecentTokens: 1 } }));
  service.fault({
    path: "chat",
    when: ({ body }) => JSON.stringify(body).includes("the second one"),
    do: refusals.overflow(262_144),
  });
  const { stderr } = await printPi(host, home, ["the first one", "the second one", "the third one"], env());
  expect(service.chats().map(({ status }) => status)).toContain(400);
  expect(stderr).not.toContain("context window");
});
