/** `/kimi usage` and the footer in the real pi: on the screen, in RPC and in print mode, and where nothing can be shown. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../extensions/lib/json.ts";
import { keepAnswer } from "../../extensions/quota/kept.ts";
import { accepts } from "../chat/payload/json-schema.ts";
import { hosts, olderHost } from "../support/hosts.ts";
import { type KimiService, newerUsages, olderUsages } from "../support/kimi-service/index.ts";
import { jsonPi, ourModel, printPi, runPi, withoutModelsWarning } from "../support/pi.ts";
import { type RpcPi, startRpc } from "../support/rpc.ts";
import { readStatusFile } from "../support/status-file.ts";
import { describeInTmux, startTmux, type TmuxPi } from "../support/tmux.ts";
import { enter } from "../support/typing.ts";
import { eventually } from "../support/waiting.ts";
import { createLoggedInWorld, createWorld, type World } from "../support/world.ts";

const schema: unknown = JSON.parse(
  readFileSync(new URL("../../extensions/quota/report.schema.json", import.meta.url), "utf8"),
);
const KEPT = ".pi/agent/kimi-coder-usage.json";

function asked(service: KimiService): number {
  return service.log.filter(({ kind }) => kind === "usages").length;
}

/** What a pi of kimi-cli's login has asked for `ms` ago. */
function keep({ home, service }: World, answer: unknown, ms: number): void {
  const path = join(home.path, ".kimi", "credentials", "kimi-code.json");
  const text = `kimi-cli\n${path}\n${service.baseUrl}`;
  const account = createHash("sha256").update(text).digest("hex").slice(0, 16);
  keepAnswer(join(home.path, KEPT), account, answer, Date.now() - ms);
}

describe.each(hosts)("/kimi usage from the shell on pi $name", (host) => {
  test("is text, and with --json an object that fits its schema, of both shapes in one answer", async () => {
    const { service, home, env, login: token } = await createLoggedInWorld();
    service.setUsages({ ...Object(olderUsages(service.now())), ...Object(newerUsages(service.now())) });
    const ran = await runPi(host, home, ["-p", "/kimi usage", "/kimi-usage --json"], env());
    expect({ stderr: ran.stderr, exitCode: ran.exitCode }).toEqual({ stderr: "", exitCode: 0 });
    const [text = "", json = ""] = ran.stdout.split(/^(?=\{)/m);
    expect(text).toMatch(
      /^Kimi quota · Moderato\n\n▸ 5 hours +█+░+ {2}27 % used\n {2}resets [\w ]*\d\d:\d\d, in 3 h\n {2}week +█+░+ {2}26 % used/,
    );
    expect(text).toMatch(/Requests at once: at most 30\n\nAs of \d\d:\d\d \(just now\)\n$/);
    expect(home.files()[KEPT]).toBe("600");
    const object: unknown = JSON.parse(json);
    expect(accepts(schema, object)).toBe(true);
    expect(object).toMatchObject({
      state: "fresh",
      plan: "Moderato",
      windows: [{ kind: "5h", usedPercent: 27, binding: true }, { kind: "week" }, { kind: "month" }, {}],
      wallet: { leftCents: 15_000, currency: "USD" },
      session: { requests: 0, since: null },
    });
    for (const entry of service.log.filter(({ kind }) => kind === "usages" || kind === "me")) {
      expect(entry.accessToken).toBe(token.access_token);
      expect(Object.keys(entry.headers).filter((name) => name.startsWith("x-"))).toEqual([]);
    }
    expect([...service.refreshes(), ...service.chats(), ...service.refused()]).toEqual([]);
  });

  test("fails with one sentence when the service does and nothing is known", async () => {
    const { service, home, env } = await createLoggedInWorld();
    const sentence = "Kimi Coder: Kimi answered 503 about the quota; try again in a minute.";
    service.fault({ path: "usages", times: 9, do: { status: 503 } });
    const ran = await runPi(host, home, ["-p", "/kimi usage", "/kimi usage --json"], env());
    expect(ran).toMatchObject({ stderr: `${sentence}\n`, exitCode: 1 });
    const object: unknown = JSON.parse(ran.stdout);
    expect(object).toMatchObject({ state: "none", problem: sentence, windows: [] });
    expect(accepts(schema, object)).toBe(true);
  });

  test("renews a rejected login once", async () => {
    const { service, home, env } = await createLoggedInWorld();
    service.revokeAccessToken();
    const { stdout, exitCode } = await runPi(host, home, ["-p", "/kimi usage"], env());
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/5 hours .* 27 % used/);
    expect(service.refreshes()).toHaveLength(1);
    expect(asked(service)).toBe(2);
  });

  test("asks nobody without a login", async () => {
    const { service, home, env } = await createWorld();
    const { stdout, stderr, exitCode } = await runPi(host, home, ["-p", "/kimi usage"], env());
    expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 1 });
    expect(withoutModelsWarning(stderr)).toMatch(/^Kimi Coder: no login found; type \/login kimi-coder, /);
    expect(service.log).toEqual([]);
    expect(home.files()[KEPT]).toBeUndefined();
  });

  test("nothing is asked, kept or said by itself in print and JSON mode", async () => {
    const { service, home, env } = await createLoggedInWorld();
    const print = await printPi(host, home, ["hello"], env());
    expect(print).toMatchObject({ stdout: "You said: hello\n", stderr: "" });
    const json = await jsonPi(host, home, ["hello"], env());
    expect(json.stdout).not.toMatch(/Kimi 5h|kimi-coder-usage/);
    expect(asked(service)).toBe(0);
  });
});

test("/kimi usage waits no longer than ten seconds, then shows what it has", async () => {
  const world = await createLoggedInWorld();
  const { service, home, env } = world;
  keep(world, olderUsages(service.now()), 3_600_000 + 60_000);
  service.fault({ path: "usages", do: { hang: true } });
  const late = await runPi(olderHost, home, ["-p", "/kimi usage"], env());
  expect({ stderr: late.stderr, exitCode: late.exitCode }).toEqual({ stderr: "", exitCode: 0 });
  expect(late.stdout).toMatch(/5 hours .* 27 % used/);
  expect(late.stdout).toMatch(
    /\nAs of [\w ]*\d\d:\d\d \(1 h 1 m ago\)\nKimi Coder: Kimi does not answer about the quota; try again in a minute\.\n$/,
  );
  expect(late.ms).toBeGreaterThan(9_000);
  expect(late.ms).toBeLessThan(30_000);
});

describe.each(hosts)("the quota in RPC mode on pi $name", (host) => {
  const statuses = ({ events }: RpcPi) =>
    events
      .filter(({ method, statusKey }) => method === "setStatus" && statusKey === "kimi-coder")
      .map(({ statusText }) => statusText);
  const parse = (text: string): JsonObject => JSON.parse(text);

  // MoonshotAI/kimi-code#3951
  test("is the larger of two figures everywhere, warned of once, and sent when it changes", async () => {
    const world = await createLoggedInWorld();
    const { service, home, env } = world;
    const reset_time = new Date(service.now() + 9 * 3_600_000).toISOString();
    const both = {
      usage: { limit: "100", used: "100", resetTime: reset_time },
      usages: { limit_7d: { used_ratio: 0, reset_time }, limit_month_code: { used_ratio: 1 } },
    };
    service.setUsages(both);
    const path = join(home.path, "status.json");
    const status = readStatusFile(path);
    const pi = startRpc(host, home, [...ourModel], env({ KIMI_CODER_STATUS_FILE: path }));
    await pi.waitFor(({ statusText }) => statusText === "Kimi week 100%");
    await pi.waitFor(({ method, message }) => method === "notify" && /100 % of the quota/.test(`${message}`));
    expect(await pi.say("/kimi usage")).toMatch(
      /^Kimi quota · Moderato\n\n▸ week +█+ 100 % used\n {2}resets [^\n]* · used up\n {2}code, of month .* 100 % used\n\n▸ the limit/,
    );
    const { windows } = parse(await pi.say("/kimi usage --json"));
    expect(windows).toMatchObject([{ kind: "week", usedPercent: 100, binding: true }, { binding: false }]);
    await pi.prompt("hello");
    await pi.prompt("hello again");
    const warnings = ({ events }: RpcPi) => events.filter(({ message }) => /of the quota/.test(`${message}`));
    expect(warnings(pi)).toHaveLength(1);
    expect(asked(service)).toBe(3); // the start and the commands, not the turns
    expect(statuses(pi).filter((text) => text !== undefined)).toEqual(["Kimi week 100%"]);
    expect(await status.waitFor({ state: "completed", turn: 2 })).toMatchObject({
      quota: { plan: "Moderato", windows: [{ kind: "week", usedPercent: 100 }, { kind: "month-code" }] },
      usage: { requests: 2, since: expect.any(Number), windows: [{ kind: "week", movedPercent: 0 }] },
    });
    expect(status.complaints()).toEqual([]);
    await pi.close();

    // A process that asks again later does not repeat the warning.
    const kept = JSON.parse(home.read(KEPT));
    home.write(KEPT, JSON.stringify({ ...kept, asked: { ...kept.asked, at: kept.asked.at - 4 * 60_000 } }));
    const other = startRpc(host, home, [...ourModel], env());
    await other.waitFor(({ statusText }) => statusText === "Kimi week 100%");
    await other.prompt("hello");
    expect(asked(service)).toBe(4);
    expect(warnings(other)).toEqual([]);
    await other.close();
  });

  test("is there as soon as somebody has logged in and asks something, and counts what the session costs", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    const used = (hours: number, week: number) =>
      service.setUsages({ usages: { limit_5h: { used_ratio: hours }, limit_7d: { used_ratio: week } } });
    used(0.1, 0.2);
    const fewer = join(home.path, "fewer.ts");
    home.write(
      "fewer.ts",
      'export default (pi) => pi.registerCommand("fewer", { handler: async () => pi.setActiveTools(["read"]) });\n',
    );
    const pi = startRpc(host, home, [...ourModel, "-e", fewer], env());
    await pi.request({ type: "get_state" });
    logInToKimiCli();
    await pi.prompt("hello");
    await pi.waitFor(({ statusText }) => statusText === "Kimi 5h 10% · week 20%");
    expect(asked(service)).toBe(1);
    await pi.prompt("hello again");
    used(0.19, 0.21);
    const { session } = parse(await pi.say("/kimi usage --json"));
    const windows = [
      { kind: "5h", label: "5 hours", movedPercent: 9 },
      { kind: "week", label: "week", movedPercent: 1 },
    ];
    expect(session).toMatchObject({ requests: 2, misses: [], windows, since: expect.stringMatching(/Z$/) });
    expect(await pi.say("/kimi usage")).toMatch(
      /\nThis session: 2 requests, [\d,]+ prompt tokens, \d+ % from the cache\n {2}since [\w ]*\d\d:\d\d: 5 hours \+9 %, week \+1 %, all programs together\n/,
    );
    await pi.request({ type: "set_thinking_level", level: "off" });
    await pi.prompt("and again");
    await pi.request({ type: "prompt", message: "/fewer" });
    await pi.prompt("once more");
    const costly = await pi.say("/kimi usage --json");
    expect(parse(costly).session).toMatchObject({
      requests: 4,
      misses: expect.arrayContaining([
        { cause: "level", times: 1, tokens: expect.any(Number) },
        { cause: "tools", times: 1, tokens: expect.any(Number) },
      ]),
    });
    expect(await pi.say("/kimi usage")).toMatch(
      /\n {2}read anew after another thinking level \([\d,]+ tokens\), other tools \(/,
    );
    await pi.close();
    expect(service.chats()).toHaveLength(4);
    // What it was told of the beginning never reaches the model, and is there when the session is opened again.
    expect(JSON.stringify(service.chats())).not.toMatch(/beginning|kimi-coder-usage/);
    const again = await runPi(host, home, ["-c", "-p", "/kimi usage --json"], env());
    // pi prints the session's last answer behind it.
    const [printed = ""] = again.stdout.split(/(?<=^\})$/m);
    expect(parse(printed).session).toEqual(parse(costly).session);
  });

  test("is there while a model of ours is selected, also another pi's, and nowhere when it is off", async () => {
    const world = await createLoggedInWorld();
    const { service, home, env } = world;
    const switched = startRpc(
      host,
      home,
      ["--provider", "openai", "--model", "gpt-4o"],
      env({ OPENAI_API_KEY: "sk-of-somebody" }),
    );
    await eventually(
      () => home.readAuth()?.["kimi-coder"],
      () => "the login was not looked after",
      20_000,
    );
    expect([statuses(switched), asked(service)]).toEqual([[], 0]);
    await switched.request({ type: "set_model", provider: "kimi-coder", modelId: "kimi-for-coding" });
    await switched.waitFor(({ statusText }) => statusText === "Kimi 5h 27% · week 26%");
    const release = service.hold({ path: "chat" });
    await switched.request({ type: "prompt", message: "hello" });
    await service.waitFor(({ kind }) => kind === "chat");
    keep(world, { usages: { limit_5h: { used_ratio: 0.5 } } }, 0);
    release();
    await switched.waitFor(({ statusText }) => statusText === "Kimi 5h 50%");
    await switched.request({ type: "set_model", provider: "openai", modelId: "gpt-4o" });
    await eventually(
      () => statuses(switched).at(-1) === undefined || undefined,
      () => `shown: ${statuses(switched)}`,
    );
    await switched.close();
    const pi = startRpc(host, home, [...ourModel], env({ KIMI_CODER_FOOTER: "off" }));
    await pi.prompt("hello");
    await pi.close();
    expect(asked(service)).toBe(1);
    expect(statuses(pi)).toEqual([]);
  });
});

async function open(pi: TmuxPi): Promise<void> {
  await pi.type("/kimi-usage");
  await pi.key("Escape");
  await pi.key("Enter");
  await pi.waitFor("esc closes");
}

describeInTmux.each(hosts)("the quota on the screen of pi $name", (host) => {
  test("fits every size, is in the footer, and goes when it is closed", async () => {
    const { service, home, env } = await createLoggedInWorld();
    service.setUsages(newerUsages(service.now()));
    const pi = await startTmux(host, home, [...ourModel], { ...env(), width: 200, height: 50 });
    await pi.waitFor("Kimi 5h 27% · week 26%");
    await enter(pi, "hello");
    await pi.waitFor("You said: hello");
    await open(pi);
    const wide =
      /▸ 5 hours +█{11}░{29} +27 % used *\n +resets [\w ]*\d\d:\d\d, in 3 h *\n +week +█+░+ +26 % used/;
    const screen = await pi.waitFor((shown) => wide.test(shown) && !shown.includes("asking Kimi"));
    for (const text of [
      "Kimi quota · Moderato",
      "code, of month",
      "Booster wallet: 150.00 USD of 200.00 USD left",
      "  this month 1.50 USD of 20.00 USD",
      "the limit you will reach first",
      "This session: 1 request",
    ])
      expect(screen).toContain(text);
    expect(screen).not.toContain("↑↓");

    await pi.resize(80, 24);
    await pi.waitFor(
      /Kimi quota[\s\S]*▸ 5 hours +█+░+ +27 % used *\n +resets [\w ]*\d\d:\d\d, in 3 h *\n +week +█+░+ +26 % used[\s\S]*r asks again · esc closes/,
    );

    // What does not fit scrolls between the title and the keys, which stay.
    await pi.resize(40, 20);
    await pi.waitFor(
      /Kimi quota · Moderato *\n *\n ▸ 5 hours +█+░+ +27 % used *\n +resets [\w ]*\d\d:\d\d, in 3 h *\n +week +█+░+ +26 % used[\s\S]*↑↓ more · r asks again · esc closes/,
    );
    await pi.key(...Array.from({ length: 40 }, () => "Down"));
    const end = await pi.waitFor(
      /This session: 1 request[\s\S]*As of [\s\S]*↑↓ more · r asks again · esc closes/,
    );
    expect(end).not.toContain("Kimi quota");
    for (const line of end.split("\n")) expect(line.length).toBeLessThanOrEqual(40);
    await pi.key(...Array.from({ length: 40 }, () => "Up"));
    await pi.waitFor("Kimi quota");
    await pi.key("Escape");
    await pi.waitFor((shown) => !shown.includes("Kimi quota"));
    expect(service.chats()).toHaveLength(1);
  });
});

describeInTmux("/kimi usage on the screen", () => {
  test("opens with the old figures, says why there are no newer ones, and takes what comes", async () => {
    const world = await createLoggedInWorld();
    const { service, home, env } = world;
    keep(world, olderUsages(service.now()), 2 * 3_600_000);
    service.fault({ path: "usages", times: 1, do: { status: 500 } }); // the footer's
    service.fault({ path: "usages", times: 1, do: { hang: true } });
    const pi = await startTmux(olderHost, home, [...ourModel], env());
    await pi.waitFor("Kimi 5h 27% · week 26% (2 h ago)");
    await pi.waitFor(() => asked(service) > 0);
    await open(pi);
    await pi.waitFor(/27 % used[\s\S]*\(2 h ago\) · asking Kimi…/);
    await pi.waitFor(
      /\(2 h ago\)\s+Kimi Coder: Kimi does not answer about the quota; try again in a minute\./,
    );
    service.setUsages({ usage: { limit: "100", used: "96" } });
    await pi.key("r");
    await pi.waitFor(
      (shown) => /96 % used[\s\S]*\(just now\)/.test(shown) && !shown.includes("does not answer"),
    );
  });
});
