import { existsSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { takeLocks } from "../../extensions/credentials/locks.ts";
import type { Probes } from "../../extensions/doctor/command.ts";
import { canFlock, lookAtFlock } from "../../extensions/doctor/locks.ts";
import { askHost } from "../../extensions/doctor/network.ts";
import { checkPi } from "../../extensions/doctor/program.ts";
import { badChecks, reportJson, reportLines } from "../../extensions/doctor/report.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";
import { readReadme } from "../support/readme.ts";
import {
  complaints,
  createHealthyPatient,
  createPatient,
  find,
  healthy,
  KIMI_CLI,
  login,
  NOW,
  shown,
} from "./support.ts";

const failing = (code: string) => async () => {
  throw Object.assign(new Error("a-secret-message"), { code });
};
const answering = (status: number, headers: Record<string, string> = {}): Partial<Probes> => ({
  fetch: async (url) =>
    new Response(null, {
      status: String(url).endsWith("/models") ? status : 200,
      headers: { date: new Date(NOW).toUTCString(), ...headers },
    }),
});

describe("a patient in good health", () => {
  it("has nothing wrong, and nothing is written", async () => {
    const patient = createHealthyPatient();
    const report = await patient.examine();
    expect(complaints(report)).toEqual([]);
    expect(shown(report)).toContain("✓ Login of kimi-cli: valid for 13 m");
    expect(reportLines(report, false).map(({ text }) => text)).toEqual([
      "Nothing is wrong.",
      "✓ pi: 0.73.1 (4 more fine)",
      "✓ Login in use: that of kimi-cli (1 more fine)",
      "✓ kimi-cli: file: ~/.kimi/credentials/kimi-code.json can be read by you alone (5 more fine)",
      "✓ Means to lock: flock(2) can be taken (3 more fine)",
      "✓ API at api.kimi.com: answers, and takes the login (2 more fine)",
      "pi-kimi-coder 0.1.0 on pi 0.73.1, Node 20.17.0, linux x64",
      "/kimi doctor --all lists every check.",
    ]);
    expect(reportJson(report)).toMatchObject({
      version: 1,
      ok: true,
      about: { pi: "0.73.1", node: "20.17.0", runtime: "Node 20.17.0" },
    });
  });

  it("has a fix for each thing that is wrong, and only for those", async () => {
    const patient = createPatient();
    const report = await patient.examine({ fetch: failing("ENOTFOUND") });
    const checks = report.groups.flatMap((group) => group.checks);
    expect(badChecks(report)).toHaveLength(3);
    for (const { state, fix } of checks) expect(fix !== undefined).toBe(state === "bad");
    const lines = reportLines(report, false);
    expect(lines.slice(0, 3)).toEqual([
      { text: "3 things are wrong:", tone: "title" },
      { text: "✗ Login in use: no login found", tone: "bad" },
      {
        text: "  → type /login kimi-coder in pi, or log in with kimi-cli, or set KIMI_CODER_API_KEY",
        tone: "fix",
      },
    ]);
    expect(new Set(lines.slice(7).map(({ tone }) => tone))).toEqual(new Set(["quiet"]));
    expect(reportJson(report).checks).toHaveLength(checks.length);
  });
});

describe("logins", () => {
  it.each<[string, string, string | undefined]>([
    ["ended", login(-60), undefined],
    ["at its half", login(100), undefined],
    ["not used for a month", login(-31 * 86_400), "Login of kimi-cli: not renewed for 31 d: it has ended"],
    ["torn", login().slice(0, 40), "Login of kimi-cli: its file is not a JSON object"],
  ])("%s", async (_name, text, complaint) => {
    const patient = createHealthyPatient();
    patient.write(KIMI_CLI, text);
    const said = complaints(await patient.examine());
    if (complaint === undefined) expect(said).toEqual([]);
    else expect(said).toContain(complaint);
  });

  it("is not there, or logged out: says what to do", async () => {
    const patient = createPatient();
    const none = await patient.examine();
    expect(complaints(none)).toEqual(["Login in use: no login found"]);
    expect(find(none, "Login in use")?.fix).toContain("/login kimi-coder");
    patient.write(KIMI_CLI, '{"access_token": "", "refresh_token": "", "expires_at": 0}');
    const out = await patient.examine();
    expect(complaints(out)).toEqual(["Login in use: kimi-cli has logged out"]);
    expect(find(out, "Login of kimi-cli")?.state).toBe("none");
  });

  it.each([
    ["kimi-code", ".kimi-code/config.toml", "type /login kimi-coder in pi"],
    [
      "kimi-cli",
      ".kimi/config.toml",
      "start kimi-cli once, which moves it into a file, or type /login kimi-coder in pi",
    ],
  ])("%s keeps its own in the system's keyring", async (owner, path, fix) => {
    const patient = createPatient();
    const table = '[providers."managed:kimi-code".oauth]\n';
    patient.write(path, `${table}storage = "file"\n# storage = "keyring"\n`);
    expect(complaints(await patient.examine())).toEqual(["Login in use: no login found"]);
    for (const text of [
      `${table}key = "oauth/kimi-code"\nstorage = "keyring"\n`,
      "[providers.a]\noauth = { key = 'oauth/kimi-code', storage = 'keyring' }\n",
    ]) {
      patient.write(path, text);
      expect(badChecks(await patient.examine())).toEqual([
        {
          name: "Login in use",
          state: "bad",
          says: `no login found: ${owner} keeps its login in the system's keyring, where pi cannot share it`,
          fix,
        },
      ]);
    }
    patient.write(KIMI_CLI, login());
    patient.write(".kimi/device_id", "0123");
    expect(complaints(await patient.examine())).toEqual([]);
  });

  it("was ended in pi", async () => {
    const patient = createHealthyPatient();
    patient.write(".pi/agent/kimi-coder.json", '{"seeded": true, "seen": {}}');
    expect(complaints(await patient.examine())).toEqual(["Login in use: logged out in pi"]);
  });

  it.each([
    ["the same", "refresh-secret", "the same as that of kimi-cli (~/.kimi/credentials/kimi-code.json)"],
    [
      "older",
      "before",
      "older than that of kimi-cli (~/.kimi/credentials/kimi-code.json); the next session brings it in line",
    ],
  ])("pi's copy is %s", async (_name, refresh, says) => {
    const patient = createHealthyPatient();
    const entry = { type: "oauth", access: "a", refresh, expires: NOW + 1000, owner: "kimi-cli" };
    const source = join(patient.home, KIMI_CLI);
    patient.write(".pi/agent/auth.json", JSON.stringify({ "kimi-coder": { ...entry, source } }));
    expect(find(await patient.examine(), "pi's copy of the login")).toEqual({
      name: "pi's copy of the login",
      state: "ok",
      says,
    });
    patient.write(".pi/agent/auth.json", JSON.stringify({ "kimi-coder": { ...entry, source: "/gone" } }));
    expect(find(await patient.examine(), "pi's copy of the login")?.state).toBe("bad");
  });

  it("a damaged auth.json", async () => {
    const patient = createHealthyPatient();
    patient.write(".pi/agent/auth.json", '{"anthropic": {"key": "sk-');
    expect(complaints(await patient.examine())).toEqual([
      "pi's copy of the login: auth.json is not a JSON object",
    ]);
  });

  it("a key given by hand, with which the API is asked", async () => {
    const patient = createPatient();
    const sent: unknown[] = [];
    const report = await patient.examine(
      {
        fetch: async (_url, init) => {
          sent.push(init?.headers);
          return new Response(null, { status: 401 });
        },
      },
      { configuredKey: () => ({ key: "sk-secret", source: "KIMI_CODER_API_KEY" }) },
    );
    expect(complaints(report)).toEqual(["API at api.kimi.com: does not take the API key (401)"]);
    expect(find(report, "Login in use")?.says).toBe("an API key from KIMI_CODER_API_KEY, no login");
    expect(sent).toContainEqual({ Authorization: "Bearer sk-secret" });
    expect(sent).toContainEqual({});
  });
});

describe("files", () => {
  it.each<[string, Awaited<ReturnType<Probes["look"]>>, string]>([
    ["unreadable", { ...regular(), readable: false }, "~/.kimi/credentials/kimi-code.json cannot be read"],
    [
      "another user's",
      { ...regular(), own: false },
      "~/.kimi/credentials/kimi-code.json belongs to another user",
    ],
    [
      "open to others",
      { ...regular(), mode: 0o644 },
      "~/.kimi/credentials/kimi-code.json has mode 0644: others on this machine may get at it",
    ],
    ["a FIFO", { ...regular(), kind: "other" }, "~/.kimi/credentials/kimi-code.json is no file"],
    [
      "behind a closed folder",
      { state: "failed", code: "EACCES" },
      "~/.kimi/credentials/kimi-code.json cannot be looked at (EACCES)",
    ],
  ])("%s", async (_name, seen, says) => {
    const patient = createHealthyPatient();
    const path = join(patient.home, KIMI_CLI);
    const look: Probes["look"] = async (at) => (at === path ? seen : well(at));
    expect(complaints(await patient.examine({ look }))).toEqual([`kimi-cli: file: ${says}`]);
  });

  it("a folder that cannot be written", async () => {
    const patient = createHealthyPatient();
    const look: Probes["look"] = async (path) =>
      path.endsWith("credentials") ? { ...regular(), kind: "folder", writable: false } : well(path);
    expect(complaints(await patient.examine({ look }))).toEqual([
      "kimi-cli: folder: ~/.kimi/credentials cannot be written: a renewed login could not be saved",
    ]);
  });

  it("a link is followed", async () => {
    const other = createPatient();
    other.write("real.json", login(), 0o644);
    mkdirSync(join(other.home, KIMI_CLI, ".."), { recursive: true });
    symlinkSync(join(other.home, "real.json"), join(other.home, KIMI_CLI));
    expect(complaints(await other.examine())[0]).toMatch(/^kimi-cli: file: .* has mode 0644/);
  });

  const OAUTH = "kimi-code: lock file: ~/.kimi-code/oauth";
  const LOST = "the login cannot be renewed";
  it.each<[string, string, object, string]>([
    ["its folder", ".kimi-code/oauth", { writable: false }, `${OAUTH} cannot be written: ${LOST}`],
    [
      "the folder it will be made in",
      ".kimi-code",
      { writable: false },
      `kimi-code: lock file: ~/.kimi-code cannot be written: ${LOST}`,
    ],
  ])("what kimi-code's renewal locks cannot be written: %s", async (_name, wrong, change, says) => {
    const patient = createPatient();
    patient.write(".kimi-code/credentials/kimi-code.json", login());
    patient.write(".kimi/device_id", "0123");
    const look: Probes["look"] = async (path) => {
      if (wrong === ".kimi-code" && path.includes("oauth")) return { state: "absent" };
      return path === join(patient.home, wrong) ? { ...well(path), ...change } : well(path);
    };
    expect(complaints(await patient.examine({ look }))).toEqual([says]);
    expect(complaints(await patient.examine({ look: async (path) => well(path) }))).toEqual([]);
  });

  it("kimi-cli's lock file is read-only", async () => {
    const patient = createHealthyPatient();
    const look: Probes["look"] = async (path) =>
      path.endsWith("kimi-code.lock") ? { ...well(path), writable: false } : well(path);
    const report = await patient.examine({ look });
    expect(complaints(report)).toEqual([
      `kimi-cli: lock file: ~/.kimi/credentials/kimi-code.lock cannot be written: ${LOST}`,
    ]);
    expect(find(report, "kimi-cli: lock file")?.fix).toBe("chmod u+rw ~/.kimi/credentials/kimi-code.lock");
  });

  it("a file of another user's that cannot be read is to be made one's own", async () => {
    const look: Probes["look"] = async (path) =>
      path.endsWith("kimi-code.lock") ? { ...well(path), own: false, writable: false } : well(path);
    expect(badChecks(await createHealthyPatient().examine({ look }))).toMatchObject([
      { name: "kimi-cli: lock file", fix: 'make it yours: chown "$USER" ~/.kimi/credentials/kimi-code.lock' },
    ]);
  });

  it("its own files need to be readable alone", async () => {
    const look: Probes["look"] = async (path) =>
      path.endsWith("-usage.json") ? { ...well(path), readable: false } : { ...well(path), writable: true };
    expect(complaints(await createHealthyPatient().examine({ look }))).toEqual([
      "Own file kimi-coder-usage.json: ~/.pi/agent/kimi-coder-usage.json cannot be read: the last figures of the quota are forgotten",
    ]);
    // They are replaced, not written in place.
    const readOnly: Probes["look"] = async (path) =>
      path.endsWith("kimi-coder.json") ? { ...well(path), mode: 0o444, writable: false } : well(path);
    expect(complaints(await createHealthyPatient().examine({ look: readOnly }))).toEqual([]);
  });

  it("kimi-cli's id of the machine is one that can be read, whatever its mode", async () => {
    const patient = createPatient();
    const id = async () => find(await patient.examine(), "Device id");
    expect(await id()).toMatchObject({ state: "none", says: "~/.kimi/device_id is not there yet" });
    patient.write(".kimi/device_id", "0123456789abcdef0123456789abcdef", 0o644);
    expect(await id()).toEqual({ name: "Device id", state: "ok", says: "~/.kimi/device_id can be read" });
    patient.write(".kimi/device_id", "");
    expect(await id()).toMatchObject({
      state: "bad",
      says: "~/.kimi/device_id holds no id that can be read: each pi makes up one of its own",
    });
    const pi = createHealthyPatient({ KIMI_CODER_IDENTITY: "pi" });
    pi.write(".kimi/device_id", "");
    expect(complaints(await pi.examine())).toEqual([]);
  });

  /** A file or folder as it should be. */
  function well(path: string) {
    const file = /\.(?:json|f?lock)$|device_id$|oauth\/kimi-code$/.test(path);
    return { ...regular(), kind: file ? "file" : "folder" } as const;
  }

  function regular() {
    return { state: "there", kind: "file", mode: 0o600, own: true, readable: true, writable: true } as const;
  }
});

describe("locks", () => {
  const name = "Lock ~/.kimi/credentials/kimi-code.lock";
  it.each([
    ["known", { pid: 4711, name: "python3" }, "held by process 4711 (python3)"],
    ["of a program nobody knows", { pid: 4711, name: undefined }, "held by process 4711"],
  ])("kimi-cli's is held by a process that is %s", async (_name, holder, says) => {
    const flock: Probes["flock"] = async (path) =>
      path.endsWith("kimi-code.lock") ? { state: "held", ...holder } : { state: "free" };
    const report = await createHealthyPatient().examine({ flock });
    expect(complaints(report)).toEqual([`${name}: ${says}`]);
  });

  it("this pi holds for a renewal of its own, or somebody only for a moment", async () => {
    const own = await createHealthyPatient().examine({
      flock: async () => ({ state: "held", pid: 1, name: "node" }),
    });
    expect(find(own, name)?.state).toBe("ok");
    let looks = 0;
    const moment = await createHealthyPatient().examine({
      flock: async () => (++looks < 3 ? { state: "held", pid: 9 } : { state: "free" }),
    });
    expect(find(moment, name)).toMatchObject({ state: "ok", says: "free" });
  });

  it("pi's are held, or were left behind", async () => {
    const patient = createHealthyPatient();
    const lock = join(patient.home, ".pi/agent/auth.json.lock");
    mkdirSync(lock);
    utimesSync(lock, NOW / 1000 - 5, NOW / 1000 - 5);
    const held = "Lock ~/.pi/agent/auth.json.lock: held by a process that is alive";
    expect(complaints(await patient.examine())).toEqual([held]);
    utimesSync(lock, NOW / 1000 - 3600, NOW / 1000 - 3600);
    expect(complaints(await patient.examine())).toEqual([
      "Lock ~/.pi/agent/auth.json.lock: left behind by a process that ended 1 h ago",
    ]);
  });

  it("are the ones that the stores take", async () => {
    const patient = createPatient();
    patient.write(KIMI_CLI, login());
    patient.write(".kimi-code/credentials/kimi-code.json", login());
    patient.write(".opencode-kimi-auth/oauth.json", "{}");
    const entry = { type: "oauth", access: "a", refresh: "r", expires: NOW };
    patient.write(".local/share/opencode/auth.json", JSON.stringify({ "kimi-for-coding-oauth": entry }));
    const looked: string[] = [];
    for (const store of patient.stores.filter(({ region }) => region === "kimi.com")) {
      const taken = await takeLocks(store, { timeout: 1_000 });
      for (const lock of store.locks) {
        looked.push(lock.path.slice(patient.home.length));
        expect(existsSync(lock.path), lock.path).toBe(true);
        if (lock.kind === "folder") expect(existsSync(lock.sentinel)).toBe(true);
      }
      if (taken.state === "held") await taken.release();
      for (const lock of store.locks) expect(existsSync(lock.path)).toBe(lock.kind === "flock");
    }
    expect(looked.sort()).toEqual([
      "/.kimi-code/credentials/kimi-code.pi.flock",
      "/.kimi-code/oauth/kimi-code.lock",
      "/.kimi/credentials/kimi-code.lock",
      "/.kimi/credentials/kimi-code.pi.flock",
      "/.local/share/opencode/auth.json.kimi-for-coding-oauth.refresh.lock",
      "/.local/share/opencode/kimi-code.pi.flock",
      "/.opencode-kimi-auth/oauth.pi.flock",
    ]);
    const report = await patient.examine();
    for (const path of looked) expect(find(report, `Lock ~${path}`), path).toBeDefined();
  });

  it("opencode's names its holder", async () => {
    const patient = createPatient();
    const auth = {
      "kimi-for-coding-oauth": { type: "oauth", access: "a", refresh: "r", expires: NOW + 800_000 },
    };
    patient.write(".local/share/opencode/auth.json", JSON.stringify(auth));
    const lock = ".local/share/opencode/auth.json.kimi-for-coding-oauth.refresh.lock";
    patient.write(`${lock}/owner.json`, '{"token": "secret", "pid": 4712}');
    utimesSync(join(patient.home, lock, "owner.json"), NOW / 1000, NOW / 1000);
    expect(complaints(await patient.examine())).toEqual([`Lock ~/${lock}: held by process 4712`]);
  });

  it.each([
    ["a file", (lock: string) => writeFileSync(lock, ""), "a file is in its place"],
    [
      "a folder with .DS_Store in it",
      (lock: string) => {
        mkdirSync(lock);
        writeFileSync(join(lock, ".DS_Store"), "");
      },
      "a folder with files in it (the Finder's .DS_Store, say) is in its place",
    ],
  ])("%s in the place of one is named by its path", async (_name, put, says) => {
    const patient = createPatient();
    patient.write(".kimi-code/credentials/kimi-code.json", login());
    patient.write(".kimi-code/oauth/kimi-code", "");
    patient.write(".kimi/device_id", "0123");
    put(join(patient.home, ".kimi-code/oauth/kimi-code.lock"));
    expect(badChecks(await patient.examine())).toEqual([
      {
        name: "Lock ~/.kimi-code/oauth/kimi-code.lock",
        state: "bad",
        says: `${says}: nobody can take it`,
        fix: "remove ~/.kimi-code/oauth/kimi-code.lock",
      },
    ]);
  });

  it("of kimi-cli needs a program that can take it", async () => {
    const folder = temporaryDirectory();
    expect(await canFlock(folder, "linux")).toBe(false);
    expect(await canFlock(folder, "darwin")).toBe(true);
    for (const program of ["perl", "flock"]) {
      const bin = temporaryDirectory();
      writeFileSync(join(bin, program), "", { mode: 0o755 });
      expect(await canFlock(`${folder}:${bin}`, "linux"), program).toBe(true);
    }
    const canNot = { canFlock: async () => false };
    expect(badChecks(await createHealthyPatient().examine(canNot))).toEqual([
      {
        name: "Means to lock",
        state: "bad",
        says: "neither flock nor perl is installed: the lock of kimi-cli cannot be taken, and a login may be renewed twice",
        fix: "install util-linux, which has flock, or perl",
      },
    ]);
    // Nobody else's lock is of that kind.
    const patient = createPatient();
    patient.write(".local/share/opencode/auth.json", "{}");
    expect(find(await patient.examine(canNot), "Means to lock")).toBeUndefined();
  });

  it("cannot be told where there is no /proc", async () => {
    const folder = temporaryDirectory();
    expect(await lookAtFlock(join(folder, "none"), folder)).toEqual({ state: "absent" });
    expect(await lookAtFlock(folder, join(folder, "none"))).toEqual({ state: "unknown" });
  });
});

describe("network", () => {
  it.each([
    ["EAI_AGAIN", "DNS: the name cannot be resolved (EAI_AGAIN)"],
    ["ECONNREFUSED", "TCP: it cannot be reached (ECONNREFUSED)"],
    ["UND_ERR_CONNECT_TIMEOUT", "TCP: it cannot be reached (UND_ERR_CONNECT_TIMEOUT)"],
    ["CERT_HAS_EXPIRED", "TLS: its certificate is not accepted (CERT_HAS_EXPIRED)"],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "TLS: no secure connection (ERR_SSL_WRONG_VERSION_NUMBER)"],
    ["ETIMEDOUT", "no answer within 5 s (ETIMEDOUT)"],
    ["a-secret", "no answer (an error of another kind)"],
  ])("fails with %s", async (code, says) => {
    const report = await createHealthyPatient().examine({ fetch: failing(code) });
    expect(complaints(report)).toEqual([
      `API at api.kimi.com: ${says}`,
      `Authorization server at auth.kimi.com: ${says}`,
    ]);
  });

  it.each([
    [401, "does not take the access token (401)"],
    [402, "says that the account has no membership (402)"],
    [403, "refuses this account (403)"],
    [404, "is not Kimi's (404)"],
    [302, "redirects to another address (302)"],
    [429, "has too many requests (429)"],
    [503, "has an error of its own (503)"],
    [418, "answers with status 418"],
  ])("the API answers %d", async (status, says) => {
    const report = await createHealthyPatient().examine(answering(status));
    expect(complaints(report)).toEqual([`API at api.kimi.com: ${says}`]);
  });

  it.each([
    [61, "1 m behind the server's"],
    [-7_300, "2 h 1 m ahead of the server's"],
    [59, undefined],
  ])("the server's clock is %d s later", async (seconds, says) => {
    const date = new Date(NOW + seconds * 1000).toUTCString();
    const report = await createHealthyPatient().examine(answering(200, { date }));
    expect(complaints(report)).toEqual(says === undefined ? [] : [`Clock: ${says}`]);
  });

  it("is given up after its limit", async () => {
    const fetch = () => new Promise<never>(() => {});
    expect(await askHost({ ...healthy, fetch }, "https://api.kimi.com", undefined, 20)).toEqual({
      state: "lost",
      code: "ETIMEDOUT",
    });
  });

  it("is left alone while a variable is refused", async () => {
    const never = () => {
      throw new Error("nothing may be sent");
    };
    const report = await createHealthyPatient({
      KIMI_CODE_BASE_URL: "a secret",
      KIMI_CODER_IDENTITY: "me",
    }).examine({
      fetch: never,
    });
    expect(complaints(report)).toEqual([
      "Configuration variables: KIMI_CODE_BASE_URL is not an http(s) URL and KIMI_CODER_IDENTITY is neither pi nor kimi-cli, and nothing is sent",
    ]);
  });

  it("asks only the hosts of regions in which there is a login, each with its own token", async () => {
    const patient = createHealthyPatient();
    const asked: string[] = [];
    const fetch: Probes["fetch"] = async (url, init) => {
      asked.push(`${url} ${JSON.stringify(init?.headers)}`);
      return new Response(null, { status: 200 });
    };
    await patient.examine({ fetch });
    const mine = 'https://api.kimi.com/coding/v1/models {"Authorization":"Bearer access-secret"}';
    expect(asked.sort()).toEqual([mine, "https://auth.kimi.com/ {}"]);
    // kimi-code's slot for kimi.ai.
    const global = patient.stores.find(({ region }) => region === "kimi.ai");
    if (!global) throw new Error("no store of kimi.ai");
    patient.write(global.path.slice(patient.home.length + 1), login(700).replaceAll("-secret", "-other"));
    asked.length = 0;
    await patient.examine({ fetch });
    expect(asked.sort()).toEqual(
      [
        mine,
        "https://api.kimi.ai/coding/v1/models {}",
        "https://auth.kimi.ai/ {}",
        "https://auth.kimi.com/ {}",
      ].sort(),
    );
  });
});

describe("proxies", () => {
  const env = { HTTPS_PROXY: "http://user:secret@proxy.example:3128", no_proxy: "localhost, .kimi.ai" };
  it("are named, not shown", async () => {
    const report = await createHealthyPatient(env).examine();
    expect(complaints(report)).toEqual([]);
    expect(find(report, "Proxy variables")?.says).toBe("HTTPS_PROXY, NO_PROXY set; requests go by them");
    expect(shown(report).join("\n")).not.toMatch(/secret|proxy\.example/);
    const unused = await createHealthyPatient(env).examine({ usesProxies: false });
    expect(find(unused, "Proxy variables")).toMatchObject({
      state: "none",
      says: "HTTPS_PROXY, NO_PROXY set, but this Node does not go by them; the hosts answer without",
    });
  });

  it.each<[string, Record<string, string>, Partial<Probes>, string]>([
    ["no URL", { HTTPS_PROXY: "secret" }, {}, "HTTPS_PROXY names no http(s) proxy"],
    [
      "not used, and nothing is reached",
      { HTTPS_PROXY: "http://p:1" },
      { usesProxies: false, fetch: failing("ETIMEDOUT") },
      "HTTPS_PROXY set, but this Node does not go by them",
    ],
  ])("%s", async (_name, variables, probes, says) => {
    const report = await createHealthyPatient(variables).examine(probes);
    expect(complaints(report)).toContain(`Proxy variables: ${says}`);
  });
});

describe("programs and neighbours", () => {
  it("versions that are too old", async () => {
    const report = await createHealthyPatient().examine(
      { runtime: { node: "18.19.0" } },
      { versions: { extension: "0.1.0", pi: "0.50.7" } },
    );
    expect(complaints(report)).toEqual(["pi: 0.50.7 is not supported", "Node: 18.19.0 is too old"]);
    expect(find(report, "pi")?.fix).toBe("update pi to 0.51.0 or newer");
  });

  it("pi's own executable, which is Bun and says it is a Node", async () => {
    const runtime = { node: "26.3.0", bun: "1.4.5" };
    const report = await createHealthyPatient().examine({ runtime });
    expect(find(report, "Bun")).toMatchObject({ state: "ok", says: "1.4.5, in pi's own executable" });
    expect(find(report, "Node")).toBeUndefined();
    expect(reportJson(report).about).toMatchObject({ node: null, runtime: "Bun 1.4.5" });
    expect(shown(report).join("\n")).not.toContain("26.3.0");
  });

  it("agrees with the README on the versions of pi", () => {
    const [, section = ""] = readReadme().split("### Versions of pi\n");
    const rows =
      section
        .split("\n\n")
        .find((part) => part.startsWith("| pi |"))
        ?.split("\n")
        .slice(2) ?? [];
    const said = rows.flatMap((row) => {
      const [, versions = "", , works = ""] = row.split("|");
      return [...versions.matchAll(/\d+\.\d+\.\d+/g)].map(([pi]) => [pi, /^ (yes|no)\b/.exec(works)?.[1]]);
    });
    expect(said.length).toBeGreaterThan(15);
    const state = (pi: string | undefined) => checkPi(`${pi}`).state;
    expect(said.map(([pi]) => [pi, state(pi) === "ok" ? "yes" : "no"])).toEqual(said);
    expect(section).toContain("\n| 0.51.0 (oldest)");
    expect(state("0.50.99")).toBe("bad");
  });

  it.each<[unknown, RegExp | undefined]>([
    [{ packages: ["npm:pi-kimi-coder"] }, undefined],
    [{ packages: ["npm:pi-kimi-coder@1.0.0", "/somewhere/pi-kimi-coder"] }, /installed 2 times/],
    [
      { packages: ["npm:something", { source: "npm:@secret/pi-kimi@2" }] },
      /packages\[1\] in ~\/\.pi\/agent\/settings\.json$/,
    ],
    [{ packages: ["git:github.com/secret/kimi-for-pi@v1"] }, /packages\[0\]/],
    [{ packages: ["git:github.com/secret/pi-kimi-coder.git@v1"] }, undefined],
    [{ extensions: ["./mine/kimi.ts"] }, /extensions\[0\]/],
    [{ packages: ["npm:unrelated"] }, undefined],
    [{ packages: "kimi", extensions: [7, null, { source: 5 }] }, undefined],
    ["kimi", undefined],
  ])("settings %j", async (settings, complaint) => {
    const patient = createHealthyPatient();
    patient.write(".pi/agent/settings.json", JSON.stringify(settings));
    const said = complaints(await patient.examine());
    if (complaint === undefined) expect(said).toEqual([]);
    else expect(said).toEqual([expect.stringMatching(complaint)]);
    expect(said.join()).not.toContain("secret");
  });

  it("others' files, projects and commands", async () => {
    const patient = createHealthyPatient();
    patient.write(".pi/agent/extensions/my-kimi.ts", "");
    patient.write("work/.pi/settings.json", '{"packages": ["npm:kimi"]}');
    const path = "/elsewhere/index.ts";
    const report = await patient.examine(
      {},
      {
        commands: [
          { name: "kimi:2", path },
          { name: "other", path },
        ],
      },
    );
    expect(complaints(report)).toEqual([
      "Other extensions for Kimi: there is one: a file or folder in ~/.pi/agent/extensions; packages[0] in the project's .pi/settings.json; a command of another extension",
    ]);
    const own = await createHealthyPatient().examine(
      {},
      { commands: [{ name: "kimi", path: "/somewhere/pi-kimi-coder/extensions/index.ts" }] },
    );
    expect(complaints(own)).toEqual([]);
  });
});
