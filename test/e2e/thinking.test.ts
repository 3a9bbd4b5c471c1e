/** `/thinking high` in a session, on the pi that has no such command and on the one that has. */
import { expect, test } from "vitest";
import { hosts, olderHost } from "../support/hosts.ts";
import { ourModel, printPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { createWorld } from "../support/world.ts";

describeInTmux.each(hosts)("/thinking on pi $name", (host) => {
  test("completes the levels, says what is set, and is sent as Kimi understands it", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const pi = await startTmux(host, home, [...ourModel, "--thinking", "off"], env());
    try {
      await pi.waitFor("using kimi-cli credentials");
      await pi.ready();
      await pi.type("/thinking ");
      await pi.waitFor(/minimal[\s\S]*low[\s\S]*medium[\s\S]*high/);
      await pi.type("high");
      await pi.key("Escape");
      await pi.key("Enter");
      await pi.waitFor(/thinking[^\n]*high/i);
      await pi.submit("hello");
      await pi.waitFor("You said: hello");
      expect(service.chats().at(-1)?.body).toMatchObject({ thinking: { type: "enabled" } });
      expect(service.chats()).toHaveLength(1); // the command itself was not sent to the model
    } finally {
      await pi.close();
    }
  });
});

test("/thinking on pi 0.73.1 answers in RPC and print mode, also to what it does not know", async () => {
  const { service, home, env, logInToKimiCli } = await createWorld();
  logInToKimiCli();
  const rpc = startRpc(olderHost, home, ourModel, env());
  const say = async (message: string, answer: string) => {
    const from = rpc.events.length;
    await rpc.request({ type: "prompt", message });
    await rpc.waitFor((event) => JSON.stringify(event).includes(answer), { from });
  };
  await say("/thinking low", "Thinking is low.");
  await say("/thinking lots", "Thinking is still low; choose one of off, minimal, low, medium, high");
  await say("/thinking", "Thinking is low; choose one of");
  await say("/thinking off", "Thinking is off.");
  await rpc.prompt("hello");
  expect(service.chats().map(({ body }) => body)).toMatchObject([{ thinking: { type: "disabled" } }]);
  await rpc.close();

  const { stderr, exitCode } = await printPi(olderHost, home, ["/thinking high"], env());
  expect({ stderr, exitCode }).toEqual({ stderr: "Thinking is high.\n", exitCode: 0 });
});
