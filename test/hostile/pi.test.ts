/** The real pi against a hostile service and hostile files: an answer or one clear sentence, soon, and no escape from the server. */
import { execFileSync } from "node:child_process";
import { lstatSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { describe, expect, test } from "vitest";
import { hosts } from "../support/hosts.ts";
import { modelsOfSeptember2026 } from "../support/kimi-service/index.ts";
import { jsonPi, printPi, runPi } from "../support/pi.ts";
import { createWorld } from "../support/world.ts";

/** What must not come out: terminal controls, and the words inside them. */
const STEERS = /[\u001b\u009b\u0007]|owned|\[2J/;
const ESCAPES = "\u001b]0;owned\u0007\u001b[2J\u001b]8;;https://evil.example\u001b\\\u009b2J\r\n";
/** ms for a process that starts, asks and ends. */
const SOON = 30_000;
const soon = { timeoutMs: SOON };

describe.each(hosts)("pi $name", (host) => {
  test("shows no escape of the server's: in names of models, error texts and pages", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    service.setModels(
      modelsOfSeptember2026.map((model) => ({ ...model, display_name: `${ESCAPES}Evil ${model.id}` })),
    );
    expect((await printPi(host, home, ["hello"], { ...env(), ...soon })).stdout).toBe("You said: hello\n");
    const listed = await runPi(host, home, ["--list-models", "kimi-coder"], { ...env(), ...soon });
    expect(listed.stdout + listed.stderr).toContain("kimi-for-coding");
    expect(listed.stdout + listed.stderr).not.toMatch(STEERS);

    for (const [status, body] of [
      [400, { error: { type: `${ESCAPES}x`, message: `${ESCAPES}Evil` } }],
      [403, `<html><title>${ESCAPES}Evil</title>`],
      [402, ESCAPES.repeat(10_000)],
    ] as const) {
      service.fault({ path: "chat", do: { status, body } });
      const { stdout, stderr, exitCode } = await printPi(host, home, ["hello"], { ...env(), ...soon });
      expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 1 });
      expect(stderr).toMatch(/^Kimi Coder: .+\n$/);
      expect(stderr).not.toMatch(STEERS);
    }
  });

  test("says in one sentence that 50 MB of an error are an error, and answers beside 50 MB of models", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const body = `{"data":[{"id":"k3"}],"error":{"message":"${"x".repeat(50_000_000)}"}}`;
    service.fault({ path: "models", times: 9, do: { status: 200, body, contentType: "application/json" } });
    const answer = await printPi(host, home, ["hello"], { ...env(), ...soon });
    expect(answer).toMatchObject({ stdout: "You said: hello\n", exitCode: 0 });

    service.fault({ path: "chat", do: { status: 400, body, contentType: "application/json" } });
    const { events, stdout } = await jsonPi(host, home, ["hello"], { ...env(), ...soon });
    expect(stdout.length).toBeLessThan(1_000_000);
    const said = events
      .flatMap(({ message }) => JSON.stringify(message) ?? [])
      .find((text) => text.includes("errorMessage"));
    expect(said).toMatch(/"errorMessage":"Kimi Coder: [^"]{20,900}"/);
  });

  test("says in one sentence that a stream of 50 MB without an end of its first event is none", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const body = `data: ${"x".repeat(50_000_000)}`;
    // Some proxies name a stream's type otherwise.
    service.fault({ path: "chat", times: 9, do: { status: 200, body, contentType: "text/plain" } });
    const { stdout, stderr, exitCode } = await printPi(host, home, ["hello"], { ...env(), ...soon });
    expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 1 });
    expect(stderr).toMatch(/^Kimi Coder: .* \(pi: an event of more than 8 MB\)\n$/);
  });

  test("says of a FIFO in the login's place what to do", async () => {
    const { service, home, env } = await createWorld();
    mkdirSync(dirname(home.kimiCliPath), { recursive: true });
    execFileSync("mkfifo", [home.kimiCliPath]);
    const { stdout, stderr, exitCode } = await printPi(host, home, ["hello"], { ...env(), ...soon });
    expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 1 });
    expect(stderr).toMatch(/^Kimi Coder: .*cannot be read .*EFTYPE.*\/login kimi-coder\.\n$/);
    expect(lstatSync(home.kimiCliPath).isFIFO()).toBe(true);
    expect(service.log).toEqual([]);
  });

  test("refuses variables that would steer the terminal or are absurdly long, in one sentence", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    for (const extra of [
      { KIMI_SHARE_DIR: `/tmp/${ESCAPES}` },
      { KIMI_CODE_HOME: "/x".repeat(60_000) },
      { KIMI_CODE_BASE_URL: `${service.baseUrl}/${"/".repeat(120_000)}a` },
      { KIMI_CODER_REGION: ESCAPES, KIMI_CODER_IDENTITY: "x".repeat(120_000) },
    ]) {
      const { stderr, stdout, exitCode } = await printPi(host, home, ["hello"], { ...env(extra), ...soon });
      expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 1 });
      expect(stderr).toMatch(/^Kimi Coder: KIMI_\w+ .{5,120}; correct or unset it and start pi again\.\n$/);
      expect(stderr).not.toMatch(STEERS);
    }
    expect(service.log).toEqual([]);
  });
});
