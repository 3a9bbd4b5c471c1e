/** The status file of the real pi, read as an orchestrator reads it. */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { hosts, newerHost, olderHost, root } from "../support/hosts.ts";
import { jsonPi, ourModel, piArguments, printPi, runPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { readStatusFile } from "../support/status-file.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { enter, enterLogin } from "../support/typing.ts";
import { createLoggedInWorld, createWorld } from "../support/world.ts";

const serverError = { status: 500, body: { error: { type: "server_error", message: "boom" } } };
const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

async function createWatched(create: typeof createWorld = createLoggedInWorld) {
  const world = await create();
  const path = join(world.home.path, "run", "worker.json");
  const watched = { KIMI_CODER_STATUS_FILE: path };
  const env = (extra: Readonly<Record<string, string>> = {}) => world.env({ ...watched, ...extra });
  return { ...world, path, env, status: readStatusFile(path) };
}

describe.each(hosts)("the status file of pi $name", (host) => {
  test("follows print mode, and holds the answer without the thinking", async () => {
    const { service, home, path, env, status } = await createWatched();
    service.reply({ thinking: "secret thoughts", text: "forty-two" });
    expect(await printPi(host, home, ["hello"], env())).toMatchObject({ exitCode: 0, stdout: "forty-two\n" });
    expect(status.read()).toMatchObject({
      version: 1,
      state: "completed",
      turn: 1,
      model: "kimi-coder/kimi-for-coding",
      message: "forty-two",
      messageFile: null,
      error: null,
      usage: { requests: 1, since: null },
      exit: { code: 0 },
    });
    // How pi starts may be over before anybody looks.
    expect(["starting", "processing"]).toContain(status.states()[0]);
    expect(status.states().at(-1)).toBe("completed@");
    expect(status.complaints()).toEqual([]);
    expect(readFileSync(path, "utf8")).not.toContain("secret thoughts");
    expect([mode(path), mode(dirname(path)), ...readdirSync(dirname(path))]).toEqual([
      "600",
      "700",
      "worker.json",
    ]);
  });

  test("says in one line and with pi's exit code that there is no login", async () => {
    const { service, home, env, status } = await createWatched(createWorld);
    const print = await printPi(host, home, ["hello"], env());
    expect(print).toMatchObject({
      stdout: "",
      stderr: expect.stringMatching(
        /^Kimi Coder: no login found; type \/login kimi-coder, .*kimi-cli, or set KIMI_CODER_API_KEY\.\n$/,
      ),
      exitCode: 1,
    });
    const error = { class: "no-login", nextAction: expect.stringContaining("type /login kimi-coder") };
    expect(status.read()).toMatchObject({ state: "error", message: null, error, exit: { code: 1 } });
    await jsonPi(host, home, ["hello"], env());
    expect(status.read()).toMatchObject({ state: "error", error });
    expect(status.complaints()).toEqual([]);
    expect(service.log).toEqual([]);
    expect(home.openedUrls()).toEqual([]);
  });

  test("stays at processing while pi repeats, aborts, gives up, compacts and begins anew", async () => {
    const { service, home, env, status } = await createWatched();
    home.write(
      ".pi/agent/settings.json",
      JSON.stringify({
        retry: { enabled: true, maxRetries: 2, baseDelayMs: 100 },
        compaction: { keepRecentTokens: 1 },
      }),
    );
    const pi = startRpc(host, home, ourModel, env());
    const first = await status.waitFor({ state: "idle" });
    expect(first).toMatchObject({ turn: 0, message: null });

    service.fault({ path: "chat", times: 2, do: serverError });
    await pi.request({ type: "prompt", message: "one" });
    await status.waitFor({ state: "completed", turn: 1, message: "You said: one" });
    expect(status.states().slice(-3)).toEqual(["idle", "processing", "completed"]);

    const stop = service.fault({ path: "chat", times: 20, do: serverError });
    await pi.request({ type: "prompt", message: "two" });
    const failed = await status.waitFor({ state: "error", turn: 2 });
    expect(failed).toMatchObject({ error: { class: "server", nextAction: expect.stringContaining("wait") } });
    expect(service.chats()).toHaveLength(6);
    stop();

    service.fault({ path: "chat", do: { hang: true } });
    await pi.request({ type: "prompt", message: "three" });
    await service.waitFor(({ kind }) => kind === "chat" && service.chats().length === 7);
    expect(status.read()).toMatchObject({ state: "processing", turn: 3, message: null, error: null });
    await pi.request({ type: "abort" });
    await status.waitFor({ state: "error", turn: 3 });
    expect(status.read()).toMatchObject({ error: { class: "aborted" } });

    await pi.request({ type: "prompt", message: "four" });
    await status.waitFor({ state: "completed", turn: 4 });
    await pi.request({ type: "compact" });
    await status.waitFor({ state: "completed", turn: 4, message: "You said: four" });
    expect(status.states().slice(-3)).toEqual(["completed", "processing", "completed"]);
    service.fault({ path: "chat", times: 20, do: { status: 402, body: { error: { message: "no plan" } } } });
    await pi.request({ type: "prompt", message: "five" });
    expect(await status.waitFor({ state: "error", turn: 5 })).toMatchObject({
      error: { class: "membership" },
    });

    await pi.request({ type: "new_session" });
    const fresh = await status.waitFor({ state: "idle" });
    expect(fresh).toMatchObject({ turn: 0, message: null, error: null });
    expect(fresh.sessionId).not.toBe(first.sessionId);
    await pi.close();
    expect(status.read()).toMatchObject({ state: "idle", exit: { code: 0 } });
    expect(status.complaints()).toEqual([]);
  });

  test("says that a compaction in the middle of a turn aborted it", async () => {
    const { service, home, env, status } = await createWatched();
    const pi = startRpc(host, home, ourModel, env());
    await status.waitFor({ state: "idle" });
    for (const turn of [1, 2]) {
      const from = pi.events.length;
      service.fault({ path: "chat", do: { stallStream: 3 } });
      await pi.request({ type: "prompt", message: "hello" });
      await pi.waitFor(({ type }) => type === "message_update", { from });
      // Whether there is enough to compact, each host decides for itself; it aborts the turn before that.
      const refuse = { status: 400, body: { error: { message: "No." } } };
      const stop = turn === 2 ? service.fault({ path: "chat", do: refuse }) : () => {};
      pi.send({ type: "compact" });
      await pi.waitFor(({ type, command }) => type === "response" && command === "compact", { from });
      stop();
      const aborted = await status.waitFor({ state: "error", turn });
      expect(aborted).toMatchObject({ error: { class: "aborted" }, waiting: null });
    }
    expect(status.states()).not.toContain("completed");
    await pi.prompt("again");
    await status.waitFor({ state: "completed", turn: 3, message: "You said: again" });
    await pi.close();
    expect(status.complaints()).toEqual([]);
  });

  test("counts a prompt that pi refuses, also the same one again", async () => {
    const { service, home, env, status } = await createWatched(createWorld);
    const pi = startRpc(host, home, ["--provider", "openai", "--model", "gpt-4o"], env());
    await status.waitFor({ state: "idle" });
    for (const turn of [1, 2]) {
      pi.send({ type: "prompt", message: "hello" });
      expect(await status.waitFor({ state: "error", turn })).toMatchObject({ error: { class: "no-login" } });
    }
    await pi.close();
    expect(service.log).toEqual([]);
    expect(status.complaints()).toEqual([]);
  });

  test("says that a pi crashed in the middle of a turn", async () => {
    const { service, home, env, status } = await createWatched();
    service.fault({ path: "chat", do: { hang: true } });
    const crash = 'setImmediate(() => { throw new Error("crash"); })';
    home.write("crash.ts", `export default (pi) => pi.on("agent_start", () => { ${crash}; });\n`);
    const arguments_ = ["-e", join(home.path, "crash.ts"), "-p", "hello", ...ourModel];
    const { exitCode, stderr } = await runPi(host, home, arguments_, env());
    expect(stderr).toContain("crash");
    expect(status.read()).toMatchObject({
      state: "error",
      error: { class: "interrupted" },
      exit: { code: exitCode },
    });
    expect(exitCode).toBe(1);
    expect(status.complaints()).toEqual([]);
  });

  test("names the file of a long answer until the next turn, in whose middle pi is ended", async () => {
    const { service, home, path, env, status } = await createWatched();
    const text = "long € ".repeat(2_000).trim();
    service.reply({ text });
    const pi = startRpc(host, home, ourModel, env());
    await status.waitFor({ state: "idle" });
    await pi.request({ type: "prompt", message: "hello" });
    const { message, messageFile } = await status.waitFor({ state: "completed" });
    expect(message).toBeNull();
    expect(messageFile).toBe(`${path}.message.txt`);
    expect(readFileSync(String(messageFile), "utf8")).toBe(text);
    expect(mode(String(messageFile))).toBe("600");
    service.fault({ path: "chat", do: { hang: true } });
    await pi.request({ type: "prompt", message: "again" });
    await service.waitFor(() => service.chats().length === 2);
    expect(status.read()).toMatchObject({ state: "processing", turn: 2 });
    expect(readdirSync(dirname(path))).toEqual(["worker.json"]);
    await pi.kill("SIGTERM");
    expect(status.read()).toMatchObject({
      state: "error",
      error: { class: "interrupted" },
      exit: { code: 143 },
    });
    expect(status.complaints()).toEqual([]);
  });

  test("that holds somebody's notes costs one warning, and no answer", async () => {
    const { home, env } = await createLoggedInWorld();
    const precious = join(home.path, "notes.txt");
    writeFileSync(precious, "dear diary");
    const { stdout, stderr, exitCode } = await printPi(
      host,
      home,
      ["hello"],
      env({ KIMI_CODER_STATUS_FILE: precious }),
    );
    expect({ stdout, exitCode }).toEqual({ stdout: "You said: hello\n", exitCode: 0 });
    expect(stderr.trim().split("\n")).toEqual([
      `Kimi Coder: the status file ${precious} cannot be written (something else is in it); name another in KIMI_CODER_STATUS_FILE.`,
    ]);
    expect(readFileSync(precious, "utf8")).toBe("dear diary");
  });

  test("stays the parent's while a subagent runs", async () => {
    const { service, home, env, status } = await createWatched();
    const child = [host.program, ...piArguments(host, [...ourModel, "-p", "--no-session", "child"], root)];
    const command = child.map((word) => `'${word}'`).join(" ");
    service.reply({ toolCalls: [{ name: "bash", arguments: { command } }] }, { text: "from the child" });
    const { stdout } = await printPi(host, home, ["parent"], env());
    expect(service.chats()).toHaveLength(3);
    expect(JSON.stringify(service.chats()[2]?.body)).toContain("from the child");
    expect(["starting", "processing"]).toContain(status.states()[0]);
    expect(status.states().slice(1)).not.toContain("starting");
    expect(status.read()).toMatchObject({ state: "completed", turn: 1, message: stdout.trim() });
    expect(status.complaints()).toEqual([]);
  });
});

test(`of pi ${newerHost.name} says that no model is selected, and why a prompt is refused`, async () => {
  const { home, env, status } = await createWatched(createWorld);
  const pi = startRpc(newerHost, home, [], env());
  expect(await status.waitFor({ state: "idle" })).toMatchObject({ model: null });
  pi.send({ type: "prompt", message: "hello" });
  expect(await status.waitFor({ state: "error", turn: 1 })).toMatchObject({
    model: null,
    error: { class: "no-model" },
  });
  await pi.close();
});

test(`of pi ${newerHost.name} says that Esc in the pause before a retry aborted the turn`, async () => {
  const { service, home, env, status } = await createWatched();
  home.write(".pi/agent/settings.json", JSON.stringify({ retry: { baseDelayMs: 60_000 } }));
  service.fault({ path: "chat", do: serverError });
  const pi = startRpc(newerHost, home, ourModel, env());
  await status.waitFor({ state: "idle" });
  await pi.request({ type: "prompt", message: "hello" });
  await pi.waitFor(({ type }) => type === "auto_retry_start");
  expect(status.read()).toMatchObject({ state: "processing", turn: 1 });
  await pi.request({ type: "abort" });
  expect(await status.waitFor({ state: "error", turn: 1 })).toMatchObject({ error: { class: "aborted" } });
  await pi.close();
});

test(`of pi ${olderHost.name} waits for the compaction that aborted the turn`, async () => {
  const { service, home, env, status } = await createWatched();
  const pi = startRpc(olderHost, home, ourModel, env());
  await status.waitFor({ state: "idle" });
  service.fault({ path: "chat", do: { stallStream: 3 } });
  await pi.request({ type: "prompt", message: "hello" });
  await pi.waitFor(({ type }) => type === "message_update");
  service.fault({ path: "chat", do: { delay: 800 } });
  const begun = Date.now();
  await pi.request({ type: "compact" });
  const { changedAt, error } = await status.waitFor({ state: "error", turn: 1 });
  expect(error).toMatchObject({ class: "aborted" });
  expect(Number(changedAt) - begun).toBeGreaterThan(800);
  await pi.close();
});

test(`of pi ${olderHost.name} says that a compaction which never began aborted the turn`, async () => {
  const { service, home, env, status } = await createWatched();
  // What pi has just compacted it does not compact again, and tells no extension about it.
  const compacted = "sessionManager.appendCompaction('summary', sessionManager.getBranch()[0].id, 1)";
  home.write(
    "compacted.ts",
    `export default (pi) => pi.on("message_update", (_, { sessionManager }) => { ${compacted}; });\n`,
  );
  service.fault({ path: "chat", do: { stallStream: 3 } });
  const pi = startRpc(olderHost, home, [...ourModel, "-e", join(home.path, "compacted.ts")], env());
  await status.waitFor({ state: "idle" });
  await pi.request({ type: "prompt", message: "hello" });
  await pi.waitFor(({ type }) => type === "message_update");
  await expect(pi.request({ type: "compact" })).rejects.toThrow("Already compacted");
  expect(await status.waitFor({ state: "error", turn: 1 })).toMatchObject({ error: { class: "aborted" } });
  await pi.prompt("again");
  await status.waitFor({ state: "completed", turn: 2, message: "You said: again" });
  await pi.close();
  expect(status.complaints()).toEqual([]);
});

describeInTmux.each(hosts)("the status file of pi $name in a terminal", (host) => {
  test("leads through a session, and /login asks nobody", async () => {
    const { service, home, env, status } = await createWatched();
    const pi = await startTmux(host, home, ourModel, env());
    const { sessionId } = await status.waitFor({ state: "idle" });
    await enterLogin(pi, host);
    await pi.waitFor(/login needs a\s+person/);
    expect(home.openedUrls()).toEqual([]);
    expect(service.log.map(({ kind }) => kind)).not.toContain("device_authorization");
    await enter(pi, "hello");
    await status.waitFor({ state: "completed", message: "You said: hello" });
    const { pid } = status.read();
    service.fault({ path: "chat", do: { hang: true } });
    await pi.submit("slow");
    await status.waitFor({ state: "processing", turn: 2 });
    await service.waitFor(() => service.chats().length === 2);
    await pi.key("Escape");
    expect(await status.waitFor({ state: "error", turn: 2 })).toMatchObject({
      error: { class: "aborted" },
    });
    await pi.submit("/reload");
    await pi.waitFor(/[Rr]eloaded/);
    await pi.submit("after");
    expect(await status.waitFor({ state: "completed", turn: 3 })).toMatchObject({ sessionId, pid });
    await pi.submit("/new");
    await status.waitFor({ state: "idle", turn: 0 });
    await pi.submit("/quit");
    expect(await pi.ended()).toBe(0);
    expect(status.read()).toMatchObject({ state: "idle", exit: { code: 0 } });
    expect(status.complaints()).toEqual([]);
    expect(status.states().slice(1)).not.toContain("starting");
  });
});
