/** Answers that are none, or not as pi reads them, through the real pi: asked for again, mended, or said. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { isJsonObject } from "../../extensions/lib/json.ts";
import { hosts, newerHost } from "../support/hosts.ts";
import { type Completion, type JsonObject, refusals } from "../support/kimi-service/index.ts";
import { assistantMessages, jsonPi, printPi, streamed } from "../support/pi.ts";
import { readStatusFile } from "../support/status-file.ts";
import { createLoggedInWorld } from "../support/world.ts";
import { PIXEL } from "./extensions/icon-tool.ts";

const thought = (text: string): JsonObject => ({ reasoning_content: text });
const said = (text: string): JsonObject => ({ content: text });
const called = (name: string, index = 0, id = `call:${index}`): JsonObject => ({
  tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }],
});
const more = (spoken: JsonObject, index = 0): JsonObject => ({ tool_calls: [{ index, function: spoken }] });

const thinkingAlone = (finishReason = "stop"): Completion => ({
  deltas: [thought("Let me look."), thought(" Hmm.")],
  finishReason,
});

/** A world with a login, in which pi's own repetitions do not take long. */
async function createPatientWorld() {
  const world = await createLoggedInWorld();
  world.home.write(".pi/agent/settings.json", JSON.stringify({ retry: { baseDelayMs: 10 } }));
  const path = join(world.home.path, "run", "worker.json");
  const status = readStatusFile(path);
  return { ...world, status, env: () => world.env({ KIMI_CODER_STATUS_FILE: path }) };
}

describe.each(hosts)("pi $name, answered with thinking alone", (host) => {
  test.each(["stop", "length"])("asks again without a trace (%s)", async (finishReason) => {
    const { service, home, env } = await createPatientWorld();
    service.reply(thinkingAlone(finishReason), { deltas: [thought("Now."), said("Three files.")] });
    const { events, exitCode } = await jsonPi(host, home, ["which files are here?"], env());
    expect(exitCode).toBe(0);
    expect(service.chats()).toHaveLength(2);
    expect(assistantMessages(events)).toMatchObject([
      { stopReason: "stop", content: [{ type: "thinking", thinking: "Now." }, { text: "Three files." }] },
    ]);
    expect(JSON.stringify(events)).not.toMatch(/auto_retry|"stopReason":"error"/);
    const begun = events.filter(
      ({ type, message }) =>
        type === "message_start" && isJsonObject(message) && message.role === "assistant",
    );
    expect(begun).toHaveLength(1);
  });

  test("asks again after a tool call of the turn too, and calls no tool twice", async () => {
    const { service, home, env } = await createPatientWorld();
    service.reply(
      { toolCalls: [{ name: "bash", arguments: { command: "echo x >>counted" } }] },
      thinkingAlone(),
      { deltas: [said("Done.")] },
    );
    expect(await printPi(host, home, ["count"], env())).toMatchObject({ stdout: "Done.\n", exitCode: 0 });
    expect(home.read("work/counted")).toBe("x\n");
    expect(service.chats()).toHaveLength(3);
  });

  test("says so in one sentence when it stays so, to people and to programs", async () => {
    const { service, home, env, status } = await createPatientWorld();
    service.reply(...Array.from({ length: 9 }, () => thinkingAlone()));
    const { stdout, stderr, exitCode } = await printPi(host, home, ["hello"], env());
    expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 1 });
    expect(stderr).toMatch(
      /^Kimi Coder: Kimi's answer ended without a word, all of it is thinking; [^\n]*\n$/,
    );
    // pi's own three repetitions, each with one of ours.
    expect(service.chats()).toHaveLength(8);
    expect(status.read()).toMatchObject({ state: "error", message: null, error: { class: "noAnswer" } });
    expect(status.complaints()).toEqual([]);
  });

  test("says that all output went into thinking, and does not spend more of it", async () => {
    const { service, home, env, status } = await createPatientWorld();
    const usage = { completion_tokens: 32_768 };
    service.reply(...Array.from({ length: 3 }, () => ({ ...thinkingAlone("length"), usage })));
    const { stdout, stderr, exitCode } = await printPi(host, home, ["hello"], env());
    expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 1 });
    expect(stderr).toBe(
      "Kimi Coder: all output (32,768 tokens) went into thinking, and there is no answer; choose a lower level with /thinking, or ask for less at once.\n",
    );
    expect(service.chats()).toHaveLength(2);
    expect(status.read()).toMatchObject({ state: "error", error: { class: "allThinking" } });
  });

  test("takes nothing at all, and blank text, for the same", async () => {
    const { service, home, env } = await createPatientWorld();
    service.reply({ deltas: [] }, { deltas: [said("One.")] });
    expect((await printPi(host, home, ["hello"], env())).stdout).toBe("One.\n");
    service.reply({ deltas: [thought("Hm."), said(" \n")] }, { deltas: [said("Two.")] });
    expect((await printPi(host, home, ["hello"], env())).stdout).toBe("Two.\n");
    expect(service.chats()).toHaveLength(4);
  });
});

describe.each(hosts)("pi $name, answered with half an answer", (host) => {
  test("has a stream asked for again that ends in order in the middle of a sentence", async () => {
    const { service, home, env } = await createPatientWorld();
    service.reply({ deltas: [said("There are thr")], finishReason: null }, { deltas: [said("Three.")] });
    expect(await printPi(host, home, ["hello"], env())).toMatchObject({ stdout: "Three.\n", exitCode: 0 });
    expect(service.chats()).toHaveLength(2);
  });

  const marks =
    '<|tool_calls_section_begin|><|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>{"command":"touch x"}<|tool_call_end|><|tool_calls_section_end|>';
  test.each([
    ["written as text", { deltas: [said("I look."), said(marks)] }],
    ["announced and not made", { deltas: [said("I look.")], finishReason: "tool_calls" }],
  ])("has a tool call asked for again that is %s", async (_, lost) => {
    const { service, home, env, status } = await createPatientWorld();
    service.reply(lost, { deltas: [said("Done.")] });
    expect(await printPi(host, home, ["hello"], env())).toMatchObject({ stdout: "Done.\n", exitCode: 0 });
    service.reply(...Array.from({ length: 4 }, () => lost));
    const { stdout, stderr, exitCode } = await printPi(host, home, ["hello"], env());
    expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 1 });
    expect(stderr).toMatch(
      /^Kimi Coder: Kimi's answer ended without the tool call that it announced; [^\n]*\n$/,
    );
    expect(status.read()).toMatchObject({ error: { class: "lostCall" } });
    expect(existsSync(join(home.work, "x"))).toBe(false);
  });

  test("shows a text about the marks of tool calls as it is", async () => {
    const { service, home, env } = await createPatientWorld();
    const text = `It writes \`${marks}\`, and then it waits.`;
    service.reply({ deltas: [said(text)] });
    expect((await printPi(host, home, ["hello"], env())).stdout).toBe(`${text}\n`);
    expect(service.chats()).toHaveLength(1);
  });

  test("shows what was cut at the service's limit, with a word", async () => {
    const { service, home, env, status } = await createPatientWorld();
    service.reply({
      deltas: [thought("Long."), said("Once upon")],
      finishReason: "length",
      usage: { completion_tokens: 4_096 },
    });
    const { stdout, stderr, exitCode } = await printPi(host, home, ["tell"], env());
    expect({ stdout, stderr, exitCode }).toEqual({
      stdout: 'Once upon\n[Kimi Coder: cut off here, at 4,096 tokens of output; say "go on" for the rest.]\n',
      stderr: "",
      exitCode: 0,
    });
    expect(service.chats()).toHaveLength(1);
    expect(status.read()).toMatchObject({
      state: "completed",
      message: expect.stringContaining("Once upon"),
    });
    service.reply({ deltas: [said("Once upon")], finishReason: "length" });
    const { events } = await jsonPi(host, home, ["tell"], env());
    expect(streamed(events, "text")).toContain("cut off here");
  });

  test("does not run a tool call that was cut in the middle", async () => {
    const { service, home, env } = await createPatientWorld();
    const cut: Completion = {
      deltas: [called("bash"), more({ arguments: '{"command":"echo x >>counted' })],
      finishReason: "length",
    };
    service.reply(cut, { deltas: [said("Smaller then.")] });
    const { stdout, stderr, exitCode } = await printPi(host, home, ["hello"], env());
    expect(existsSync(join(home.work, "counted"))).toBe(false);
    // The newer host tells the model; to the older one it must be an error.
    if (host.settled === "agent_settled")
      expect({ stdout, exitCode }).toEqual({ stdout: "Smaller then.\n", exitCode: 0 });
    else {
      expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 1 });
      expect(stderr).toContain("in the middle of a tool call, which was not run");
    }
  });
});

test.each(hosts)(
  "pi $name, answered with two calls under one id whose names come in pieces, runs both",
  async (host) => {
    const { service, home, env } = await createPatientWorld();
    const deltas = [
      called("ba", 0, "x"),
      more({ name: "sh" }, 0),
      more({ arguments: '{"command":"echo x >first"}' }, 0),
      called("bash", 1, "x"),
      more({ arguments: '{"command":"echo y >second"}' }, 1),
    ];
    service.reply({ deltas, finishReason: "tool_calls" }, { deltas: [said("Done.")] });
    expect(await printPi(host, home, ["count"], env())).toMatchObject({ stdout: "Done.\n", exitCode: 0 });
    expect(home.read("work/first") + home.read("work/second")).toBe("x\ny\n");
    expect(service.refused()).toEqual([]);
  },
);

describe.each(hosts)("pi $name, told another address of Kimi's", (host) => {
  test("asks the API that is meant", async () => {
    const { service, home, env } = await createPatientWorld();
    const told = { KIMI_CODE_BASE_URL: `${service.url}/coding/v1/chat/completions` };
    expect(await printPi(host, home, ["hello"], { env: { ...env().env, ...told } })).toMatchObject({
      stdout: "You said: hello\n",
      stderr: "",
    });
  });

  test("names the variable and the usual value where nothing of Kimi's is there", async () => {
    const { service, home, env, status } = await createPatientWorld();
    const told = { KIMI_CODE_BASE_URL: `${service.url}/v2` };
    const { stderr, exitCode } = await printPi(host, home, ["hello"], { env: { ...env().env, ...told } });
    expect(exitCode).toBe(1);
    expect(stderr).toBe(
      `Kimi Coder: Kimi's API is not at ${service.url}/v2; correct KIMI_CODE_BASE_URL, which is usually https://api.kimi.com/coding/v1, or unset it, and start pi again. (Kimi: The requested resource was not found)\n`,
    );
    expect(status.read()).toMatchObject({ error: { class: "address" } });
  });
});

describe.each(hosts)("pi $name, refused", (host) => {
  test("says when the limit resets, as far as the last known figures tell", async () => {
    const { service, home, env, status } = await createPatientWorld();
    expect((await printPi(host, home, ["/kimi usage"], env())).exitCode).toBe(0);
    service.fault({ path: "chat", do: refusals.weeklyLimit });
    const { stderr, exitCode } = await printPi(host, home, ["hello"], env());
    expect(exitCode).toBe(1);
    // The simulator's week ends in 100 hours.
    expect(stderr).toMatch(
      /^Kimi Coder: the plan's weekly limit is used up; wait until it resets \w{3} \d\d:\d\d, in 4 d, or choose a larger plan/,
    );
    expect(status.read()).toMatchObject({
      error: {
        class: "weekly",
        nextAction: expect.stringMatching(/^wait until it resets \w{3} \d\d:\d\d, in 4 d/),
      },
    });
  });

  test("names the picture that Kimi cannot read", async () => {
    const { service, home, env } = await createPatientWorld();
    writeFileSync(join(home.work, "pixel.png"), Buffer.from(PIXEL, "base64"));
    service.reply({ toolCalls: [{ name: "read", arguments: { path: "pixel.png" } }] });
    service.fault({
      path: "chat",
      when: ({ body }) => JSON.stringify(body).includes("image_url"),
      do: refusals.badRequest("Invalid request: unsupported image format"),
    });
    const { stderr, exitCode } = await printPi(host, home, ["look"], env());
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /^Kimi Coder: Kimi cannot read the newest picture of this session \(from the tool read\); /,
    );
  });
});

test(`pi ${newerHost.name} names the setting by which it ends a request that is silent`, async () => {
  const { service, home, env } = await createPatientWorld();
  const settings = { httpIdleTimeoutMs: 1_000, retry: { enabled: false } };
  home.write(".pi/agent/settings.json", JSON.stringify(settings));
  for (const silence of [{ hang: true }, { stallStream: 2 }] as const) {
    service.fault({ path: "chat", do: silence });
    const { stderr, exitCode } = await printPi(newerHost, home, ["hello"], env());
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /^Kimi Coder: the request timed out, Kimi was silent for 1 s; [^\n]*raise httpIdleTimeoutMs\b.* in pi's settings/,
    );
  }
});
