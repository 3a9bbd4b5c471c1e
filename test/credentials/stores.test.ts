/** The four files in which other programs keep their logins: read as they write them, written as they would have. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readConfiguration } from "../../extensions/configuration.ts";
import {
  createStores,
  kimiCliStore,
  kimiCodeStore,
  opencodeKimiAuthStore,
  opencodeKimiFullStore,
  slotName,
} from "../../extensions/credentials/stores.ts";
import { FIRST, listing, modeOf, put, SECOND, temporaryDirectory, USUAL_HOSTS } from "./support/homes.ts";
import { realKimiCode } from "./support/kimi-code-bundle.ts";
import { hasPython } from "./support/processes.ts";
import { replace, save } from "./support/replace.ts";
import { homeWith, STORES } from "./support/stores.ts";

const LINE =
  '{"access_token": "access-1", "refresh_token": "refresh-1", "expires_at": 1800000000.0, "scope": "kimi-code", "token_type": "Bearer", "expires_in": 900.0}';
const NEXT =
  '{"access_token": "access-2", "refresh_token": "refresh-2", "expires_at": 1800000900.25, "scope": "kimi-code", "token_type": "Bearer", "expires_in": 900.0}';

function newKimiCli(text?: string) {
  const share = join(temporaryDirectory(), ".kimi");
  const store = kimiCliStore(share);
  if (text !== undefined) put(store.path, text);
  return { share, store, content: () => readFileSync(store.path, "utf8") };
}

describe("kimi-cli's store", () => {
  it("reads the login, with times in ms", async () => {
    const { store } = newKimiCli(LINE);
    expect(await store.read()).toEqual({ state: "present", token: FIRST });
  });

  it("creates nothing while kimi-cli has no login", async () => {
    const { share, store } = newKimiCli();
    expect(await store.read()).toEqual({ state: "absent" });
    expect(await replace(store, "refresh-1", SECOND)).toEqual({ state: "failed", code: "ENOENT" });
    expect(existsSync(share)).toBe(false);
  });

  it("saves a new login as kimi-cli does: one line, 0600, directories 0755", async () => {
    const { share, store, content } = newKimiCli();
    expect(save(store, FIRST)).toEqual({ state: "written" });
    expect(content()).toBe(LINE);
    expect([modeOf(store.path), modeOf(share), modeOf(join(share, "credentials"))]).toEqual([
      0o600, 0o755, 0o755,
    ]);
  });

  it("puts what kimi-cli insists on where neither the server nor the file says it", async () => {
    const { store, content } = newKimiCli();
    save(store, { ...FIRST, scope: undefined, tokenType: undefined });
    expect(content()).toBe(LINE.replace('"kimi-code"', '""'));
  });

  it.skipIf(!hasPython)("writes the very bytes of Python's json.dumps", async () => {
    const { store, content } = newKimiCli();
    save(store, {
      ...FIRST,
      expiresAt: 1_800_000_000_123,
      scope: 'grüße "und" \\',
      tokenType: undefined,
    });
    const python = `
import json, sys
print(json.dumps({"access_token": "access-1", "refresh_token": "refresh-1", "expires_at": 1800000000.123,
  "scope": 'gr\\u00fc\\u00dfe "und" \\\\', "token_type": "Bearer", "expires_in": float(900)}, ensure_ascii=False), end="")`;
    const env = { ...process.env, PYTHONIOENCODING: "utf-8" };
    expect(content()).toBe(spawnSync("python3", ["-c", python], { encoding: "utf8", env }).stdout);
  });

  it("replaces the login it was refreshed from, and keeps what it does not know", async () => {
    const { share, store, content } = newKimiCli(LINE);
    expect(await replace(store, "refresh-1", SECOND)).toEqual({ state: "written" });
    expect(content()).toBe(NEXT);
    expect(listing(share)).toEqual(["credentials", "credentials/kimi-code.json"]);

    const odd = (line: string) =>
      line.replace("{", '{"account": {"id": 12345678901234567890, "x": 1.0}, ').replace("Bearer", "bearer");
    put(store.path, odd(LINE));
    await replace(store, "refresh-1", { ...SECOND, scope: undefined, tokenType: undefined });
    expect(content()).toBe(odd(NEXT));
  });
});

const kimiCode = realKimiCode();

const THEIRS = {
  accessToken: "access-1",
  refreshToken: "refresh-1",
  expiresAt: 1_800_000_000,
  expiresIn: 900,
  scope: "kimi-code",
  tokenType: "Bearer",
};

async function newKimiCode(token: typeof THEIRS | undefined = THEIRS) {
  const home = join(temporaryDirectory(), ".kimi-code");
  const theirs = kimiCode.openStorage(join(home, "credentials"));
  await theirs.save("kimi-code", token);
  const store = kimiCodeStore(home, USUAL_HOSTS);
  return { home, theirs, store, content: () => readFileSync(store.path, "utf8") };
}

describe("kimi-code's store", () => {
  it("reads what kimi-code has written", async () => {
    const { store } = await newKimiCode();
    expect(await store.read()).toEqual({ state: "present", token: FIRST });
  });

  it("writes what kimi-code would have written, byte for byte", async () => {
    const { store, theirs, content } = await newKimiCode();
    expect(await replace(store, "refresh-1", SECOND)).toEqual({ state: "written" });
    const ours = content();
    const second = {
      ...THEIRS,
      accessToken: "access-2",
      refreshToken: "refresh-2",
      expiresAt: 1_800_000_900,
    };
    expect({ ...(await theirs.load("kimi-code")) }).toEqual(second);
    await theirs.save("kimi-code", second);
    expect(ours).toBe(content());
    expect(modeOf(store.path)).toBe(0o600);
  });

  it("keeps what it does not know", async () => {
    const { store, content } = await newKimiCode();
    put(store.path, content().replace("{\n", '{\n  "account": {\n    "id": 1.0\n  },\n'));
    expect(await replace(store, "refresh-1", SECOND)).toEqual({ state: "written" });
    expect(content()).toContain('{\n  "account": {\n    "id": 1.0\n  },\n  "access_token": "access-2",\n');
  });

  it("takes kimi-code's tombstone for a logout, and leaves it", async () => {
    const { store, content } = await newKimiCode(kimiCode.revokedTombstone(THEIRS));
    const before = content();
    expect(await store.read()).toEqual({ state: "signed-out" });
    expect(await replace(store, "refresh-1", SECOND)).toEqual({
      state: "superseded",
      found: { state: "signed-out" },
    });
    expect(await replace(store, "", SECOND)).toEqual({ state: "superseded", found: { state: "signed-out" } });
    expect(content()).toBe(before);
  });

  it("saves a new login as kimi-code does, in directories for the user alone", async () => {
    const { theirs, content } = await newKimiCode();
    const home = join(temporaryDirectory(), ".kimi-code");
    const store = kimiCodeStore(home, USUAL_HOSTS);
    expect(save(store, FIRST)).toEqual({ state: "written" });
    await theirs.save("kimi-code", THEIRS);
    expect(readFileSync(store.path, "utf8")).toBe(content());
    expect([store.path, home, join(home, "credentials")].map(modeOf)).toEqual([0o600, 0o700, 0o700]);
  });

  it("puts an empty scope and type where neither the server nor the file says one", async () => {
    const { theirs, store } = await newKimiCode();
    put(
      store.path,
      '{"access_token":"access-1","refresh_token":"refresh-1","expires_at":1,"expires_in":900}',
    );
    await replace(store, "refresh-1", { ...SECOND, scope: undefined, tokenType: undefined });
    expect(await theirs.load("kimi-code")).toMatchObject({ scope: "", tokenType: "" });
  });

  it("keeps the file's scope and type where the server says none, and is kimi.com's unless told", async () => {
    const { theirs, store } = await newKimiCode();
    await replace(store, "refresh-1", { ...SECOND, scope: undefined, tokenType: undefined });
    expect(await theirs.load("kimi-code")).toMatchObject({ scope: "kimi-code", tokenType: "Bearer" });
    expect([store.owner, store.region]).toEqual(["kimi-code", "kimi.com"]);
    const other = kimiCodeStore("/h", { ...USUAL_HOSTS, region: "kimi.ai" });
    expect(other.region).toBe("kimi.ai");
  });
});

describe("kimi-code's slots", () => {
  it.each([
    ["https://auth.kimi.com", "https://api.kimi.com/coding/v1"],
    ["https://auth.kimi.com///", "https://api.kimi.com/coding/v1/"],
    [" https://auth.kimi.com/ ", "https://api.kimi.com/coding/v1"],
    ["https://auth.kimi.ai", "https://api.kimi.ai/coding/v1"],
    ["https://auth.kimi.com", "http://127.0.0.1:8080/v1"],
    ["http://127.0.0.1:8080", "https://api.kimi.com/coding/v1"],
    ["HTTPS://AUTH.KIMI.COM", "https://api.kimi.com/coding/v1"],
  ])("are named as kimi-code names them: %s, %s", (oauthHost, baseUrl) => {
    expect(`oauth/${slotName(oauthHost, baseUrl)}`).toBe(
      kimiCode.resolveKimiCodeOAuthKey({ oauthHost, baseUrl }),
    );
  });

  it("are files of their own", () => {
    const store = kimiCodeStore("/home", {
      oauthHost: "https://auth.kimi.ai",
      baseUrl: "https://api.kimi.ai/coding/v1",
    });
    expect(store.path).toMatch(/^\/home\/credentials\/kimi-code-env-[0-9a-f]{16}\.json$/);
  });
});

const NAME = "kimi-for-coding-oauth";
const entry = { type: "oauth", refresh: "refresh-1", access: "access-1", expires: 1_800_000_000_000 };

describe("opencode-kimi-full's store", () => {
  const next = { type: "oauth", refresh: "refresh-2", access: "access-2", expires: 1_800_000_900_250 };
  const others = {
    anthropic: { type: "api", key: "k" },
    openai: { type: "oauth", expires: 1.5, x: [1, { y: 2 }] },
  };

  function newStore(content: unknown) {
    const data = temporaryDirectory();
    const store = opencodeKimiFullStore(data);
    put(store.path, JSON.stringify(content, null, 2), 0o644);
    return { data, store, content: () => readFileSync(store.path, "utf8") };
  }

  it("reads its entry of opencode's file, also under the name with a slash", async () => {
    const present = { state: "present", token: { ...FIRST, scope: undefined, tokenType: undefined } };
    expect(await newStore({ ...others, [NAME]: entry }).store.read()).toEqual(present);
    expect(await newStore({ [`${NAME}/`]: entry, ...others }).store.read()).toEqual(present);
    expect(await newStore(others).store.read()).toEqual({ state: "absent" });
    const both = newStore({ [`${NAME}/`]: next, [NAME]: entry });
    expect(await both.store.read()).toEqual(present);
    expect(both.store.owner).toBe("opencode-kimi-full");
  });

  it("replaces its entry as opencode writes it, and leaves everybody else's", async () => {
    const { store, content } = newStore({
      a: others.anthropic,
      [NAME]: { ...entry, accountId: "x" },
      b: others.openai,
    });
    expect(await replace(store, "refresh-1", SECOND)).toEqual({ state: "written" });
    const expected = { a: others.anthropic, [NAME]: { ...next, accountId: "x" }, b: others.openai };
    expect(JSON.parse(content())).toEqual(expected);
    expect(content()).toBe(
      JSON.stringify({ ...expected, [NAME]: { ...entry, ...next, accountId: "x" } }, null, 2),
    );
    expect(modeOf(store.path)).toBe(0o600);

    const slash = newStore({ [`${NAME}/`]: entry });
    await replace(slash.store, "refresh-1", SECOND);
    expect(JSON.parse(slash.content())).toEqual({ [`${NAME}/`]: next });
  });

  it("says what is wrong with the entry, and leaves it", async () => {
    const noLogin = { state: "malformed", reason: "holds a Kimi entry that is no OAuth login" };
    for (const [wrong, found] of [
      [{ ...entry, type: "api" }, noLogin],
      [null, noLogin],
      [
        { ...entry, refresh: 1 },
        { state: "malformed", reason: "holds no refresh token" },
      ],
    ]) {
      const { store, content } = newStore({ ...others, [NAME]: wrong });
      const before = content();
      expect(await store.read()).toEqual(found);
      expect(await replace(store, "refresh-1", SECOND)).toEqual({ state: "failed", code: "EBADMSG" });
      expect(content()).toBe(before);
    }
  });
});

describe.each(["opencode-kimi-full", "opencode-kimi-auth", "pi"] as const)(
  "%s's file, which is written in place,",
  (owner) => {
    it.each([
      ["empty", 0],
      ["half a file", 20],
    ])("is looked at again before it counts as damaged: %s", async (_name, length) => {
      const { store, content } = homeWith(STORES[owner]);
      const text = content();
      put(store.path, text.slice(0, length));
      const reading = store.read();
      put(store.path, text);
      expect(await reading).toMatchObject({ state: "present", token: { accessToken: "access-1" } });
    });
  },
);

describe("opencode-kimi-auth's store", () => {
  const stored = {
    access_token: "access-1",
    refresh_token: "refresh-1",
    expires_in: 900,
    scope: "kimi-code",
    token_type: "Bearer",
    expires_at: 1_800_000_000_000,
    device_id: "d",
  };

  function newStore(text: string) {
    const folder = join(temporaryDirectory(), ".opencode-kimi-auth");
    const store = opencodeKimiAuthStore(folder);
    put(store.path, text);
    return { folder, store, content: () => readFileSync(store.path, "utf8") };
  }

  it("reads and replaces the plain file, byte for byte as the plugin writes it", async () => {
    const { store, content } = newStore(JSON.stringify(stored, null, 2));
    expect(await store.read()).toEqual({ state: "present", token: FIRST });
    expect(await replace(store, "refresh-1", SECOND)).toEqual({ state: "written" });
    const next = {
      ...stored,
      access_token: "access-2",
      refresh_token: "refresh-2",
      expires_at: 1_800_000_900_250,
    };
    expect(content()).toBe(JSON.stringify(next, null, 2));
  });

  it("keeps the file's scope and type where the server says none, and writes what it says", async () => {
    const { store, content } = newStore(JSON.stringify(stored));
    await replace(store, "refresh-1", { ...SECOND, scope: undefined, tokenType: undefined });
    expect(JSON.parse(content())).toMatchObject({ scope: "kimi-code", token_type: "Bearer" });
    await replace(store, "refresh-2", { ...FIRST, scope: "other", tokenType: "other" });
    expect(JSON.parse(content())).toMatchObject({ scope: "other", token_type: "other" });
  });

  it("takes the life that the file names, and no scope and no type that are no text", async () => {
    const { store } = newStore(
      JSON.stringify({ ...stored, scope: 7, token_type: ["Bearer"], expires_in: 3600 }),
    );
    const token = { ...FIRST, scope: undefined, tokenType: undefined, lifetime: 3_600_000 };
    expect(await store.read()).toEqual({ state: "present", token });
    expect(store.owner).toBe("opencode-kimi-auth");
  });

  it("says so when the file is encrypted, and leaves it", async () => {
    const { store, content } = newStore('{\n  "encrypted": "AAAA"\n}');
    expect(await store.read()).toEqual({ state: "malformed", reason: "is encrypted by opencode-kimi-auth" });
    expect(await replace(store, "refresh-1", SECOND)).toMatchObject({ state: "failed" });
    expect(content()).toBe('{\n  "encrypted": "AAAA"\n}');
  });
});

describe("the stores of an environment", () => {
  const HOME = "/home/me";
  const of = (env: Record<string, string>) => {
    const { all, forLogin } = createStores(readConfiguration(env, HOME));
    const short = ({ owner, region, path }: (typeof all)[number]) => `${owner} ${region} ${path}`;
    return { all: all.map(short), com: short(forLogin("kimi.com")), ai: short(forLogin("kimi.ai")) };
  };
  const CLI = "kimi-cli kimi.com /home/me/.kimi/credentials/kimi-code.json";
  const CODE = "kimi-code kimi.com /home/me/.kimi-code/credentials/kimi-code.json";
  const CODE_AI = expect.stringMatching(
    /^kimi-code kimi\.ai \/home\/me\/\.kimi-code\/credentials\/kimi-code-env-[0-9a-f]{16}\.json$/,
  );
  const OPENCODE = [
    "opencode-kimi-full kimi.com /home/me/.local/share/opencode/auth.json",
    "opencode-kimi-auth kimi.com /home/me/.opencode-kimi-auth/oauth.json",
  ];

  it("are kimi-cli's, kimi-code's of each region, and those of opencode's plugins, in this order", () => {
    expect(of({}).all).toEqual([CLI, CODE, CODE_AI, ...OPENCODE]);
  });

  it("take a login for kimi.com to kimi-cli, and one for kimi.ai to kimi-code, which has a place for it", () => {
    expect(of({})).toMatchObject({ com: CLI, ai: CODE_AI });
  });

  it("begin with the region that was chosen, where kimi-cli's is another", () => {
    expect(of({ KIMI_CODER_REGION: "kimi.ai" }).all).toEqual([CLI, CODE_AI, CODE, ...OPENCODE]);
  });

  it("are of one region, and for any login, where the hosts are somebody's own", () => {
    const hosts = { KIMI_CODE_OAUTH_HOST: "http://127.0.0.1:1", KIMI_CODE_BASE_URL: "http://127.0.0.1:2/v1" };
    const { all, com, ai } = of(hosts);
    expect(all[0]).toBe(CLI);
    expect(all.filter((one) => one.startsWith("kimi-code"))).toHaveLength(1);
    expect([com, ai]).toEqual([CLI, CLI]);
  });

  it("are kimi-code's alone where the hosts are those of kimi.ai, which the other programs do not know", () => {
    const { all, com, ai } = of({ KIMI_CODE_BASE_URL: "https://api.kimi.ai/coding/v1" });
    expect(all).toEqual([CODE_AI]);
    expect([com, ai]).toEqual([CODE_AI, CODE_AI]);
  });

  it("are where the programs' own variables say", () => {
    const folders = { KIMI_SHARE_DIR: "/a", KIMI_CODE_HOME: "/b", XDG_DATA_HOME: "/c" };
    expect(of(folders).all.filter((one) => !one.includes("kimi.ai"))).toEqual([
      "kimi-cli kimi.com /a/credentials/kimi-code.json",
      "kimi-code kimi.com /b/credentials/kimi-code.json",
      "opencode-kimi-full kimi.com /c/opencode/auth.json",
      OPENCODE[1],
    ]);
  });
});
