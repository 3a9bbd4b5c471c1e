/** Kimi's own search and fetch through the real pi: when the model has them, what is sent, and what comes of it. */
import { readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { isJsonObject } from "../../extensions/lib/json.ts";
import { otherProviderModels } from "../conformance/other-provider.ts";
import { allHosts, hosts } from "../support/hosts.ts";
import { type KimiService, refusals } from "../support/kimi-service/index.ts";
import { copyExtension, ourModel, printPi, runPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { enter } from "../support/typing.ts";
import { createLoggedInWorld, createWorld } from "../support/world.ts";

const BOTH = { KIMI_CODER_TOOLS: "search,fetch" };
const SETTINGS = ".pi/agent/kimi-coder-settings.json";
const PAGE = "https://nodejs.org/en/about";
const RESULTS = [
  {
    title: "Node.js \u001b[31m24\u001b]0;owned\u0007 is out",
    url: "https://nodejs.org/en/blog",
    snippet: "Node.js 24\nis the new one.",
    date: "2026-05-06",
    site_name: "nodejs.org",
  },
  { title: "Releases", url: "https://github.com/nodejs/release", snippet: "All of them." },
];

const extension = (name: string) => fileURLToPath(new URL(`extensions/${name}.ts`, import.meta.url));

/** The list that is called `name` in the newest request. */
function sent(service: KimiService, name: "tools" | "messages"): readonly unknown[] {
  const body = service.chats().at(-1)?.body;
  const list = isJsonObject(body) ? body[name] : undefined;
  return Array.isArray(list) ? list : [];
}

/** Those of Kimi's tools that the model was offered with the newest request, sorted. */
function offered(service: KimiService): readonly string[] {
  return [...new Set(JSON.stringify(sent(service, "tools")).match(/(?<="name":")kimi_\w+/g))].sort();
}

/** The results of tools that pi has sent with the newest request. */
function results(service: KimiService): readonly string[] {
  return sent(service, "messages").flatMap((message) =>
    isJsonObject(message) && message.role === "tool" ? [String(message.content)] : [],
  );
}

const asked = (service: KimiService, tool: "search" | "fetch") =>
  service.log.filter(({ kind }) => kind === tool);

const call = (name: string, given: object, id = "call_of_the_model") => ({
  toolCalls: [{ id, name, arguments: given }],
});

describe.each(allHosts)("Kimi's tools on pi $name", (host) => {
  test("are called, and their results answer", async () => {
    const { service, home, env, login: token } = await createLoggedInWorld();
    service.setSearchResults(RESULTS);
    service.setPage(PAGE, "# About\u001b[2J\n\nA \u009druntime.");
    service.reply(
      call("kimi_search", { query: "node 24", limit: 2 }, "search_1"),
      call("kimi_fetch", { url: PAGE }, "fetch_1"),
      { text: "It is out." },
    );
    const run = await printPi(host, home, ["is it out?"], env(BOTH));

    expect({ stdout: run.stdout, stderr: run.stderr }).toEqual({ stdout: "It is out.\n", stderr: "" });
    expect(results(service)).toEqual([
      "1. Node.js 24 is out\n   https://nodejs.org/en/blog\n   2026-05-06 · nodejs.org\n   Node.js 24 is the new one.\n\n" +
        "2. Releases\n   https://github.com/nodejs/release\n   All of them.",
      "# About\n\nA runtime.",
    ]);
    const [search] = asked(service, "search");
    const [fetched] = asked(service, "fetch");
    expect(search?.body).toEqual({ text_query: "node 24", limit: 2 });
    expect(fetched?.body).toEqual({ url: PAGE });
    expect(search?.headers["x-msh-tool-call-id"]).toBe("search_1");
    expect(fetched?.headers["x-msh-tool-call-id"]).toBe("fetch_1");
    const chat = service.chats()[0]?.headers ?? {};
    for (const entry of [search, fetched]) {
      expect(entry?.accessToken).toBe(token.access_token);
      for (const name of Object.keys(chat).filter((name) => /^(?:user-agent|x-msh-)/.test(name)))
        expect(entry?.headers[name], name).toBe(chat[name]);
    }
    expect(service.refused()).toEqual([]);
  });
});

describe.each(hosts)("whether the model has Kimi's tools on pi $name", (host) => {
  test("is no by default, and then nothing of them is loaded; a call loads what it needs", async () => {
    const { service, home, env } = await createLoggedInWorld();
    const without = copyExtension(home, "tools");
    const off = await printPi(host, home, ["hello"], { ...env(), extension: without });
    expect({ stdout: off.stdout, stderr: off.stderr }).toEqual({ stdout: "You said: hello\n", stderr: "" });
    expect(offered(service)).toEqual([]);

    rmSync(without, { recursive: true });
    const registration = copyExtension(home, "tools/call.ts", "tools/answer.ts");
    service.reply(call("kimi_search", { query: "node" }), { text: "Well." });
    const on = await printPi(host, home, ["hello"], { ...env(BOTH), extension: registration });
    expect({ stdout: on.stdout, stderr: on.stderr }).toEqual({ stdout: "Well.\n", stderr: "" });
    expect(offered(service)).toEqual(["kimi_fetch", "kimi_search"]);
    const [before = 0, both = 0] = service.chats().map(({ usage }) => usage?.prompt_tokens);
    expect(both - before).toBeGreaterThan(50);
    expect(both - before).toBeLessThanOrEqual(400);
    expect(results(service)).toEqual([
      "Kimi Coder: its files were moved or changed while pi was running; start pi again.",
    ]);
  });

  test("is switched by /kimi tools, for this project or for all, at once and for later", async () => {
    const { service, home, env } = await createLoggedInWorld();
    home.write(SETTINGS, JSON.stringify({ ours: 1, projects: { "/elsewhere": { tools: { fetch: "on" } } } }));
    const pi = startRpc(host, home, [...ourModel], env());
    expect(await pi.say("/kimi tools")).toBe(
      [
        "Kimi's own tools for the model, part of the plan",
        "kimi_search: off",
        "  searches the web; what is searched for goes to Kimi",
        "kimi_fetch: off",
        "  reads web pages; their addresses go to Kimi",
        "/kimi tools on|off [search|fetch] for this project, with --global for all",
      ].join("\n"),
    );
    await pi.prompt("hello");
    expect(offered(service)).toEqual([]);
    expect(await pi.say("/kimi tools search on")).toMatch(/^kimi_search: on for this project$/m);
    await pi.prompt("hello");
    expect(offered(service)).toEqual(["kimi_search"]);
    expect(JSON.parse(home.read(SETTINGS))).toEqual({
      ours: 1,
      projects: { "/elsewhere": { tools: { fetch: "on" } }, [home.work]: { tools: { search: "on" } } },
    });
    expect(home.files()[SETTINGS]).toBe("600");

    // A new session keeps them; for all projects takes the place of what was said for this one.
    await pi.request({ type: "new_session" });
    await pi.prompt("hello");
    expect(offered(service)).toEqual(["kimi_search"]);
    await pi.say("/kimi tools off search --global");
    expect(await pi.say("/kimi tools on fetch --global")).toMatch(
      /^kimi_search: off for all projects\n.*\nkimi_fetch: on for all projects$/m,
    );
    await pi.prompt("hello");
    expect(offered(service)).toEqual(["kimi_fetch"]);
    await pi.close();

    await printPi(host, home, ["hello"], { ...env(), cwd: home.path });
    expect(offered(service)).toEqual(["kimi_fetch"]);
    await printPi(host, home, ["hello"], env({ KIMI_CODER_TOOLS: "search" }));
    expect(offered(service)).toEqual(["kimi_search"]);
    await printPi(host, home, ["hello"], env({ KIMI_CODER_TOOLS: "off" }));
    expect(offered(service)).toEqual([]);
  });

  test("is not switched where the command, the variable or the file says something else", async () => {
    const { service, home, env } = await createWorld();
    home.write(".pi/agent/models.json", otherProviderModels("http://127.0.0.1:9"));
    const tools = async (words: string, more: Readonly<Record<string, string>> = {}) => {
      const line = ["--provider", "elsewhere", "--model", "other", "-p", `/kimi tools${words}`];
      const { stdout, stderr, exitCode } = await runPi(host, home, line, env(more));
      return { stdout, stderr, exitCode };
    };
    const complaint = (stderr: string) => ({ stdout: "", exitCode: 1, stderr: `Kimi Coder: ${stderr}\n` });
    const usage = complaint("say /kimi tools on or /kimi tools off, with search or fetch for one of them.");
    expect(await tools(" search")).toEqual(usage);
    expect(await tools(" on off")).toEqual(usage);
    expect(await tools(" on", BOTH)).toEqual(
      complaint("KIMI_CODER_TOOLS says which tools are on; unset it and start pi again."),
    );
    expect(home.files()[SETTINGS]).toBeUndefined();
    home.write(SETTINGS, "{ by hand");
    expect(await tools(" on")).toEqual(
      complaint(`${join(home.path, SETTINGS)} cannot be read as JSON; correct it or remove it.`),
    );
    expect(home.read(SETTINGS)).toBe("{ by hand");
    const { stdout, ...shown } = await tools("", BOTH);
    expect(shown).toEqual({ stderr: "", exitCode: 0 });
    expect(stdout).toMatch(
      /^kimi_fetch: on by KIMI_CODER_TOOLS, but not in use: pi 0\.55\.4 or later has it with a model of Kimi Coder, unless/m,
    );
    expect(service.log).toEqual([]);
  });

  test("is yes only while a model of ours is selected", async () => {
    const { service, home, env } = await createLoggedInWorld();
    home.write(".pi/agent/models.json", otherProviderModels("http://127.0.0.1:9"));
    const elsewhere = ["--provider", "elsewhere", "--model", "other"];
    const pi = startRpc(host, home, ["-e", extension("active-tools"), ...elsewhere], env(BOTH));
    const usual = "active: read bash edit write";
    expect(await pi.say("/active-tools")).toBe(usual);
    await pi.request({ type: "set_model", provider: "kimi-coder", modelId: "kimi-for-coding" });
    expect(await pi.say("/active-tools")).toBe(`${usual} kimi_search kimi_fetch`);
    await pi.request({ type: "set_model", provider: "kimi-coder", modelId: "kimi-k2-thinking" });
    expect(await pi.say("/active-tools")).toBe(`${usual} kimi_search kimi_fetch`);
    await pi.request({ type: "set_model", provider: "elsewhere", modelId: "other" });
    expect(await pi.say("/active-tools")).toBe(usual);
    await pi.request({ type: "set_model", provider: "kimi-coder", modelId: "kimi-for-coding" });
    await pi.prompt("hello");
    expect(offered(service)).toEqual(["kimi_fetch", "kimi_search"]);
    await pi.close();
  });

  test("is no where another tool does the same, until that one is chosen", async () => {
    const { service, home, env } = await createLoggedInWorld();
    const pi = startRpc(host, home, ["-e", extension("web-search-tool"), ...ourModel], env());
    expect(await pi.say("/kimi tools on")).toMatch(
      /^kimi_search: on for this project, but left out, because web_search does the same; \/kimi tools on search takes both$/m,
    );
    await pi.prompt("hello");
    expect(offered(service)).toEqual(["kimi_fetch"]);
    expect(await pi.say("/kimi tools on search")).toMatch(
      /^kimi_search: on for this project; web_search does the same$/m,
    );
    await pi.prompt("hello");
    expect(offered(service)).toEqual(["kimi_fetch", "kimi_search"]);
    await pi.close();
  });
});

describe.each(hosts)("a call of Kimi's tools on pi $name", (host) => {
  /** A pi with the tools, and what the model is told of a call. */
  async function open() {
    const { service, home, env } = await createLoggedInWorld();
    const pi = startRpc(host, home, [...ourModel], env(BOTH));
    const resultOf = async (name: string, given: object) => {
      service.reply(call(name, given), { text: "Well." });
      await pi.prompt("try");
      return String(results(service).at(-1));
    };
    return { service, home, pi, resultOf };
  }

  test("renews a token that was rejected, once", async () => {
    const { service, pi, resultOf } = await open();
    service.setSearchResults(RESULTS);
    service.fault({ path: "search", do: refusals.unauthorized });
    expect(await resultOf("kimi_search", { query: "node" })).toMatch(/^1\. Node\.js 24 is out\n/);
    expect(asked(service, "search").map(({ status }) => status)).toEqual([401, 200]);
    expect(service.refreshes()).toHaveLength(1);

    service.fault({ path: "search", times: 9, do: refusals.unauthorized });
    expect(await resultOf("kimi_search", { query: "node" })).toMatch(
      /^Kimi Coder: Kimi does not accept the login any more; type \/login kimi-coder to log in again\./,
    );
    expect(asked(service, "search")).toHaveLength(4);
    expect(service.reusedRefreshTokens()).toBe(0);
    await pi.close();
  });

  test("says what the plan does not allow in the words of a request", async () => {
    const { service, pi, resultOf } = await open();
    service.fault({ path: "search", do: refusals.weeklyLimit });
    expect(await resultOf("kimi_search", { query: "node" })).toMatch(
      /^Kimi Coder: the plan's weekly limit is used up; wait until it resets.*, or choose a larger plan at https:\/\/www\.kimi\.com\/code\./,
    );
    service.fault({ path: "fetch", do: refusals.membership });
    expect(await resultOf("kimi_fetch", { url: PAGE })).toMatch(
      /^Kimi Coder: this account has no active Kimi membership; renew the plan at https:\/\/www\.kimi\.com\/code\./,
    );
    await pi.close();
  });

  test("says what else went wrong, and what to do", async () => {
    const { service, pi, resultOf } = await open();
    expect(await resultOf("kimi_fetch", { url: PAGE })).toBe(
      "Kimi Coder: Kimi could not fetch this page (404); try another address, or use bash, for instance with curl. (Kimi: The requested resource was not found)",
    );
    service.fault({ path: "search", do: refusals.badRequest("\u001b[2Jtoo long") });
    expect(await resultOf("kimi_search", { query: "node" })).toBe(
      "Kimi Coder: Kimi did not search for this (400); try other words. (Kimi: too long)",
    );
    service.fault({ path: "search", do: { status: 200, body: "<html>Hotel</html>" } });
    expect(await resultOf("kimi_search", { query: "node" })).toBe(
      "Kimi Coder: Kimi's answer to the search could not be understood; try again.",
    );
    service.fault({ path: "search", times: 9, do: { drop: "before" } });
    expect(await resultOf("kimi_search", { query: "node" })).toMatch(
      /^Kimi Coder: connection error, the connection to Kimi broke off; check the network and try again\./,
    );
    const before = asked(service, "fetch").length;
    expect(await resultOf("kimi_fetch", { url: "http://0x7f.1:8080/admin" })).toBe(
      "kimi_fetch reaches the public web alone, and 127.0.0.1 is on this machine or in a private network; use bash instead, for instance with curl.",
    );
    expect(asked(service, "fetch")).toHaveLength(before);
    await pi.close();
  });

  test("gives 50 KB of a long page, and a file with all of it", async () => {
    const { service, home, pi, resultOf } = await open();
    const page = Array.from({ length: 4_000 }, (_, line) => `Line ${line} of a page that is long.`).join(
      "\n",
    );
    service.setPage(PAGE, page);
    const result = await resultOf("kimi_fetch", { url: PAGE });
    const [, beginning = "", path = ""] =
      /^(.*)\n\n\[Showing the first 50\.0KB of \d+\.\dKB\. Full text: (\S+)\]$/s.exec(result) ?? [];
    expect(page.startsWith(beginning)).toBe(true);
    expect(Buffer.byteLength(beginning)).toBeGreaterThan(50 * 1024 - 100);
    expect(Buffer.byteLength(beginning)).toBeLessThanOrEqual(50 * 1024);
    expect(path.startsWith(join(home.path, "tmp", "kimi-fetch-"))).toBe(true);
    expect(readFileSync(path, "utf8")).toBe(page);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await pi.close();
  });
});

describeInTmux.each(hosts)("Kimi's tools on the screen of pi $name", (host) => {
  test("are a line or two, expand, and Esc ends them", async () => {
    const { service, home, env } = await createLoggedInWorld();
    service.setSearchResults(RESULTS);
    service.reply(call("kimi_search", { query: "node\u001b[31m 24" }), { text: "It is out." });
    const pi = await startTmux(host, home, [...ourModel], env(BOTH));
    await enter(pi, "is it out?");
    const shown = await pi.waitFor("It is out.");
    expect(shown).toMatch(/kimi_search node 24\s+2 results: nodejs\.org, github\.com \(ctrl\+o to expand\)/);
    expect(shown).not.toContain("All of them.");
    await pi.key("C-o");
    expect(await pi.waitFor("All of them.")).toContain("2026-05-06 · nodejs.org");

    service.fault({ path: "fetch", do: { hang: true } });
    service.reply(call("kimi_fetch", { url: PAGE }), { text: "Never said." });
    await enter(pi, "read it");
    await service.waitFor(({ kind }) => kind === "fetch", 20_000);
    expect(await pi.screen()).toContain(`kimi_fetch ${PAGE}`);
    await pi.key("Escape");
    await service.waitFor(({ kind, finished }) => kind === "fetch" && finished);
    await pi.waitFor(/aborted/i);
    expect(await pi.screen()).not.toContain("Never said.");
  });
});
