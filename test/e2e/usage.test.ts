/** `/kimi usage` and the footer in the real pi: on the screen, in RPC and in print mode, and where nothing can be shown. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { accepts } from "../request/json-schema.ts";
import type { Home } from "../support/home.ts";
import { hosts } from "../support/hosts.ts";
import { type KimiService, newerUsages, olderUsages } from "../support/kimi-service/index.ts";
import { jsonPi, ourModel, printPi, runPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { describeInTmux, startTmux, type TmuxPi } from "../support/tmux.ts";
import { eventually } from "../support/waiting.ts";
import { createWorld } from "../support/world.ts";

const schema: unknown = JSON.parse(
  readFileSync(new URL("../../extensions/usage/report.schema.json", import.meta.url), "utf8"),
);
const KEPT = ".pi/agent/kimi-coder-usage.json";

function asked(service: KimiService): number {
  return service.log.filter(({ kind }) => kind === "usages").length;
}

/** Makes the kept figures `ms` older. */
function age(home: Home, ms: number): void {
  const kept = JSON.parse(home.read(KEPT));
  home.write(KEPT, JSON.stringify({ ...kept, fetchedAt: kept.fetchedAt - ms }));
}

describe.each(hosts)("/kimi usage from the shell on pi $name", (host) => {
  test("is text, and with --json an object that fits its schema, in either shape", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    const token = logInToKimiCli();
    const older = await runPi(host, home, ["-p", "/kimi usage"], env());
    expect({ stderr: older.stderr, exitCode: older.exitCode }).toEqual({ stderr: "", exitCode: 0 });
    expect(older.stdout).toMatch(
      /^Kimi quota · Moderato\n\n▸ 5 hours +[█░]+ {2}27 % used {2}resets [\w ]*\d\d:\d\d \(in 2 h 59 m\)\n {2}week +[█░]+ {2}26 % used/,
    );
    expect(older.stdout).toMatch(/Requests at once: at most 30\n\nAs of \d\d:\d\d \(just now\)\n$/);
    expect(home.files()[KEPT]).toBe("600");

    service.setUsages(newerUsages(service.now()));
    const newer = await runPi(host, home, ["-p", "/kimi-usage --json"], env());
    expect({ stderr: newer.stderr, exitCode: newer.exitCode }).toEqual({ stderr: "", exitCode: 0 });
    const object: unknown = JSON.parse(newer.stdout);
    expect(accepts(schema, object)).toBe(true);
    expect(object).toMatchObject({
      state: "fresh",
      plan: "Moderato",
      windows: [{ kind: "5h", usedPercent: 27, binding: true }, { kind: "week" }, { kind: "month" }, {}],
      wallet: { leftCents: 15_000, currency: "USD" },
    });
    for (const entry of service.log.filter(({ kind }) => kind === "usages" || kind === "me")) {
      expect(entry.accessToken).toBe(token.access_token);
      expect(Object.keys(entry.headers).filter((name) => name.startsWith("x-"))).toEqual([]);
    }
    expect([...service.refreshes(), ...service.chats(), ...service.refused()]).toEqual([]);
  });

  test("shows the old figures with their age when the service fails, and fails when there are none", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const sentence = "Kimi Coder: Kimi answered 503 about the quota; try again in a minute.";
    service.fault({ path: "usages", times: 9, do: { status: 503 } });
    const without = await runPi(host, home, ["-p", "/kimi usage"], env());
    expect({ ...without, ms: 0 }).toMatchObject({ stdout: "", stderr: `${sentence}\n`, exitCode: 1 });
    const object = await runPi(host, home, ["-p", "/kimi usage --json"], env());
    expect(object.exitCode).toBe(1);
    expect(JSON.parse(object.stdout)).toMatchObject({ state: "none", problem: sentence, windows: [] });
    expect(accepts(schema, JSON.parse(object.stdout))).toBe(true);
  });

  test("waits no longer than ten seconds, then shows what it has", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    await runPi(host, home, ["-p", "/kimi usage"], env());
    age(home, 3_600_000 + 60_000);
    service.fault({ path: "usages", do: { hang: true } });
    const late = await runPi(host, home, ["-p", "/kimi usage"], env());
    expect({ stderr: late.stderr, exitCode: late.exitCode }).toEqual({ stderr: "", exitCode: 0 });
    expect(late.stdout).toMatch(/5 hours .* 27 % used/);
    expect(late.stdout).toMatch(
      /\nAs of [\w ]*\d\d:\d\d \(1 h 1 m ago\)\nKimi Coder: Kimi does not answer about the quota; try again in a minute\.\n$/,
    );
    expect(late.ms).toBeGreaterThan(9_000);
    expect(late.ms).toBeLessThan(30_000);
  });

  test("renews a rejected login once", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
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
    expect(stderr).toMatch(/^Kimi Coder: no login found; type \/login kimi-coder, /);
    expect(service.log).toEqual([]);
    expect(home.files()[KEPT]).toBeUndefined();
  });

  test.each([
    ["the variable", { KIMI_CODER_API_KEY: "sk-very-secret" }, []],
    ["--api-key", {}, ["--api-key", "sk-very-secret"]],
  ])("uses a key from %s", async (_, variables, flags) => {
    const { service, home, env } = await createWorld();
    service.apiKeys.add("sk-very-secret");
    const ran = await printPi(host, home, [...flags, "/kimi usage"], env(variables));
    expect({ stderr: ran.stderr, exitCode: ran.exitCode }).toEqual({ stderr: "", exitCode: 0 });
    expect(ran.stdout).toMatch(/5 hours .* 27 % used/);
    expect(service.log.find(({ kind }) => kind === "usages")?.accessToken).toBe("sk-very-secret");
    expect(home.read(KEPT)).not.toContain("sk-very");
  });

  test("uses a key from auth.json", async () => {
    const { service, home, env } = await createWorld();
    service.apiKeys.add("sk-very-secret");
    home.writeAuth({ "kimi-coder": { type: "api_key", key: "sk-very-secret" } });
    const { stdout, exitCode } = await runPi(host, home, ["-p", "/kimi usage"], env());
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/5 hours .* 27 % used/);
  });

  test("nothing is asked, kept or said by itself in print and JSON mode", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const print = await printPi(host, home, ["hello"], env());
    expect({ stdout: print.stdout, stderr: print.stderr }).toEqual({
      stdout: "You said: hello\n",
      stderr: "",
    });
    const json = await jsonPi(host, home, ["hello"], env());
    expect(json.stdout).not.toContain("Kimi 5h");
    expect(asked(service)).toBe(0);
  });
});

describe.each(hosts)("the quota in RPC mode on pi $name", (host) => {
  test("is a plain notice, and a status", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const used = { limit: "100", used: "83" };
    service.setUsages({ usage: used });
    const pi = startRpc(host, home, [...ourModel], env());
    const status = await pi.waitFor(
      ({ method, statusText }) => method === "setStatus" && Boolean(statusText),
    );
    expect(status).toMatchObject({ statusKey: "kimi-coder", statusText: "Kimi week 83%" });
    await pi.waitFor(({ method, message }) => method === "notify" && /83 % of the quota/.test(`${message}`));

    const from = pi.events.length;
    await pi.request({ type: "prompt", message: "/kimi usage" });
    const { message } = await pi.waitFor(({ method }) => method === "notify", { from });
    expect(message).toMatch(/^Kimi quota · Moderato\n\n▸ week +[█░]+ {2}83 % used\n/);
    await pi.prompt("hello");
    await pi.prompt("hello again");
    expect(pi.events.filter(({ message }) => /83 % of the quota/.test(`${message}`))).toHaveLength(1);
    expect(asked(service)).toBe(2); // the start and the command, not the turns

    // Neither a process beside it nor one that asks again later repeats the warning.
    age(home, 4 * 60_000);
    const other = startRpc(host, home, [...ourModel], env());
    await other.waitFor(({ statusText }) => statusText === "Kimi week 83%");
    await other.prompt("hello");
    expect(asked(service)).toBe(3);
    expect(other.events.filter(({ message }) => /of the quota/.test(`${message}`))).toEqual([]);
    await other.close();
    await pi.close();
  });

  test("is there as soon as somebody has logged in and asks something", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    const pi = startRpc(host, home, [...ourModel], env());
    await pi.request({ type: "get_state" });
    logInToKimiCli();
    await pi.prompt("hello");
    await pi.waitFor(({ statusText }) => statusText === "Kimi 5h 27% · week 26%");
    expect(asked(service)).toBe(1);
    await pi.close();
  });

  test("is not there without a login, nor when it is switched off", async () => {
    const without = await createWorld();
    const nobody = startRpc(host, without.home, [], without.env());
    await nobody.request({ type: "get_state" });
    await nobody.close();
    expect(without.service.log).toEqual([]);

    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const pi = startRpc(host, home, [...ourModel], env({ KIMI_CODER_FOOTER: "off" }));
    await pi.prompt("hello");
    await pi.close();
    expect(asked(service)).toBe(0);
    expect(pi.events.filter(({ method }) => method === "setStatus")).toEqual([]);
  });
});

describeInTmux.each(hosts)("the quota on the screen of pi $name", (host) => {
  async function open(pi: TmuxPi): Promise<void> {
    await pi.type("/kimi-usage");
    await pi.key("Escape");
    await pi.key("Enter");
    await pi.waitFor("esc closes");
  }

  test.each([
    [40, /▸ 5 hours +27 % used\n +█+░+\n +resets [\w ]*\d\d:\d\d \(in [^)]+\)\n +week +26 % used\n/],
    [80, /▸ 5 hours +█+░+ +27 % used +resets [\w ]*\d\d:\d\d \(in [^)]+\)\n +week +█+░+ +26 % used/],
    [200, /▸ 5 hours +█{11}░{29} +27 % used +resets [\w ]*\d\d:\d\d \(in [^)]+\)\n +week +█+░+ +26 % used/],
  ])("fits %i columns, is in the footer, and goes when it is closed", async (width, wanted) => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    service.setUsages(newerUsages(service.now()));
    const pi = await startTmux(host, home, [...ourModel], { ...env(), width });
    try {
      await pi.waitFor("Kimi 5h 27% · week 26%");
      await open(pi);
      const screen = await pi.waitFor((shown) => wanted.test(shown) && !shown.includes("asking Kimi"));
      expect(screen).toContain("Kimi quota · Moderato");
      expect(screen).toMatch(/month, code/);
      expect(screen).toMatch(/Booster wallet: 150.00 USD/);
      expect(screen).toContain("the limit you will reach first");
      for (const line of screen.split("\n")) expect(line.length).toBeLessThanOrEqual(width);
      await pi.key("Escape");
      await pi.waitFor((shown) => !shown.includes("Kimi quota"));
      expect(service.chats()).toEqual([]);
    } finally {
      await pi.close();
    }
  });

  test("opens with the old figures, says that Kimi is slow or failed, and takes what comes", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    await runPi(host, home, ["-p", "/kimi usage"], env());
    age(home, 2 * 3_600_000);
    service.fault({ path: "usages", times: 1, do: { status: 500 } }); // the footer's
    const hang = service.fault({ path: "usages", times: 1, do: { hang: true } });
    const pi = await startTmux(host, home, [...ourModel], env());
    try {
      await pi.waitFor("Kimi 5h 27% · week 26% (2 h ago)");
      const failed = () =>
        service.log.some(({ path, status }) => path.endsWith("/usages") && status === 500) || undefined;
      await eventually(failed, () => "the footer asked nothing", 20_000);
      await open(pi);
      await pi.waitFor(/27 % used[\s\S]*\(2 h ago\) · asking Kimi…/);
      await pi.waitFor(
        /\(2 h ago\)\s+Kimi Coder: Kimi does not answer about the quota; try again in a minute\./,
      );
      hang();
      service.setUsages({ usage: { limit: "100", used: "96" } });
      // The time of the exchange is over by then.
      await pi.waitFor((shown) => !shown.includes("asking Kimi"));
      for (let tries = 0; tries < 20; tries++) {
        await pi.key("r");
        const renewed = await pi.waitFor("96 % used", 2_000).catch(() => undefined);
        if (renewed) break;
      }
      expect(await pi.screen()).toMatch(/96 % used[\s\S]*\(just now\)/);
      expect(await pi.screen()).not.toContain("does not answer");
    } finally {
      await pi.close();
    }
  });

  test("the footer is refreshed beside turns, warns once, and goes with the model", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    service.setUsages(olderUsages(service.now()));
    const pi = await startTmux(host, home, [...ourModel], env());
    try {
      await pi.waitFor("Kimi 5h 27% · week 26%");
      expect(await pi.screen()).not.toContain("of the quota");
    } finally {
      await pi.close();
    }
    // Another process, after the three minutes.
    age(home, 4 * 60_000);
    service.setUsages({ usage: { limit: "100", used: "97" } });
    const other = await startTmux(host, home, [...ourModel], env());
    try {
      await other.waitFor("Kimi week 97%");
      await other.waitFor("97 % of the quota for this week is used");
      expect(asked(service)).toBe(2);
    } finally {
      await other.close();
    }
    // One that uses something else, though the login is there.
    const elsewhere = { OPENAI_API_KEY: "sk-of-somebody" };
    const third = await startTmux(host, home, ["--provider", "openai", "--model", "gpt-4o"], env(elsewhere));
    try {
      await third.waitFor("using kimi-cli credentials");
      expect(await third.screen()).not.toContain("Kimi week");
      expect(asked(service)).toBe(2);
    } finally {
      await third.close();
    }
  });
});
