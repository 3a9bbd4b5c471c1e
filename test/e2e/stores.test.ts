/** Whose login pi uses when there are several, and the logins of other programs in their own files and formats. */
import { rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hosts, root } from "../support/hosts.ts";
import { copyExtension, ourModel, printPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { createWorld } from "../support/world.ts";

describe.each(hosts)("pi $name", (host) => {
  test("with both official homes takes the login that is valid longest, says which, and stays with it", async () => {
    const { service, home, env } = await createWorld();
    const cli = service.issueLogin();
    const code = service.issueLogin();
    home.writeKimiCli({ ...cli, expires_at: cli.expires_at - 100 });
    home.writeKimiCode(code, service);

    const rpc = startRpc(host, home, ourModel, env());
    await rpc.waitFor((event) => JSON.stringify(event).includes("Kimi Coder: using kimi-code credentials"));
    await rpc.prompt("hello");
    await rpc.close();
    expect(service.chats().at(-1)?.accessToken).toBe(code.access_token);

    // Now the other one is valid longer: the entry remembers where it came from.
    home.writeKimiCli({ ...cli, expires_at: cli.expires_at + 500 });
    await printPi(host, home, ["hello"], env());
    expect(service.chats().at(-1)?.accessToken).toBe(code.access_token);
    expect(home.readAuth()?.["kimi-coder"]).toMatchObject({ owner: "kimi-code" });
  });

  test("never refreshes kimi-code's login for other hosts, nor its tombstone", async () => {
    const { service, home, env } = await createWorld();
    home.writeKimiCode(service.issueLogin(), {
      oauthHost: "https://auth.kimi.com",
      baseUrl: service.baseUrl,
    });
    expect(await printPi(host, home, ["hello"], env())).toMatchObject({ exitCode: 1 });
    home.writeKimiCode(
      { ...service.issueLogin(), access_token: "", refresh_token: "", expires_at: 0 },
      service,
    );
    const { stderr } = await printPi(host, home, ["hello"], env());
    expect(stderr).toContain("kimi-code has logged out");
    expect(service.log).toEqual([]);
  });

  test("uses the login of opencode-kimi-full in opencode's auth.json, and leaves the rest of that file alone", async () => {
    const { service, home, env } = await createWorld();
    const token = service.issueLogin();
    service.expireAccessTokens();
    const entry = {
      type: "oauth",
      refresh: token.refresh_token,
      access: token.access_token,
      expires: Date.now() - 1,
    };
    home.write(
      ".local/share/opencode/auth.json",
      JSON.stringify({ anthropic: { type: "api", key: "k" }, "kimi-for-coding-oauth": entry }, null, 2),
    );
    expect(await printPi(host, home, ["hello"], env())).toMatchObject({ exitCode: 0 });
    const current = service.currentTokens(token.refresh_token);
    expect(JSON.parse(home.read(".local/share/opencode/auth.json"))).toMatchObject({
      anthropic: { type: "api", key: "k" },
      "kimi-for-coding-oauth": {
        type: "oauth",
        refresh: current?.refresh_token,
        access: current?.access_token,
      },
    });
    expect(home.readAuth()?.["kimi-coder"]).toMatchObject({
      refresh: current?.refresh_token,
      owner: "opencode-kimi-full",
    });
    expect(service.refreshes()).toHaveLength(1);
    expect(home.readKimiCli()).toBeUndefined();
  });

  test("uses the login of opencode-kimi-auth, and writes it back in that format", async () => {
    const { service, home, env } = await createWorld();
    const token = service.issueLogin();
    service.expireAccessTokens();
    home.write(
      ".opencode-kimi-auth/oauth.json",
      JSON.stringify({ ...token, expires_at: Date.now() - 1, extra: 1 }),
    );
    expect(await printPi(host, home, ["hello"], env())).toMatchObject({ exitCode: 0 });
    const current = service.currentTokens(token.refresh_token);
    const written = JSON.parse(home.read(".opencode-kimi-auth/oauth.json"));
    expect(written).toMatchObject({ refresh_token: current?.refresh_token, extra: 1 });
    expect(written.expires_at).toBeGreaterThan(Date.now());
    expect(service.refreshes()).toHaveLength(1);
  });

  test("from a folder whose libraries were never installed answers, or says what to install", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    const bare = copyExtension(home);
    rmSync(join(bare, "node_modules"));
    logInToKimiCli();
    const options = { ...env(), extension: bare };
    const valid = await printPi(host, home, ["hello"], options);
    expect(valid).toMatchObject({ stdout: "You said: hello\n", exitCode: 0 });
    expect(valid.stderr).toBe(
      "Kimi Coder: the libraries it needs are not installed; run npm install in its folder.\n",
    );

    logInToKimiCli("expired");
    const expired = await printPi(host, home, ["hello"], options);
    expect(expired.exitCode).toBe(1);
    expect(expired.stderr).toContain("run npm install in its folder.");
    expect(service.refreshes()).toEqual([]);

    symlinkSync(join(root, "node_modules"), join(bare, "node_modules"));
    expect(await printPi(host, home, ["hello"], options)).toMatchObject({ stderr: "", exitCode: 0 });
  });
});
