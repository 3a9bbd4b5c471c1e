import { mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { takeLocks } from "../../extensions/credentials/locks.ts";
import type { Probes } from "../../extensions/doctor/command.ts";
import type { FileLook } from "../../extensions/doctor/files.ts";
import { canFlock } from "../../extensions/doctor/locks.ts";
import { askHost } from "../../extensions/doctor/network.ts";
import { checkQuota } from "../../extensions/doctor/plan.ts";
import { checkPi } from "../../extensions/doctor/program.ts";
import { badChecks, reportJson } from "../../extensions/doctor/report.ts";
import type { QuotaWindow } from "../../extensions/quota/figures.ts";
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
const answering = (status: number, date = NOW): Partial<Probes> => ({
  fetch: async (url) =>
    new Response(null, {
      status: String(url).endsWith("/models") ? status : 200,
      headers: { date: new Date(date).toUTCString() },
    }),
});

describe("logins", () => {
  it.each([
    ["ended", login(-60), undefined],
    ["not used for a month", login(-31 * 86_400), "Login of kimi-cli: not renewed for 31 d: it has ended"],
    ["torn", login().slice(0, 40), "Login of kimi-cli: its file is not a JSON object"],
    [
      "ended by its owner",
      '{"access_token": "", "refresh_token": "", "expires_at": 0}',
      "Login in use: kimi-cli has logged out",
    ],
  ])("%s", async (_name, text, complaint) => {
    const patient = createHealthyPatient();
    patient.write(KIMI_CLI, text);
    const said = complaints(await patient.examine());
    if (complaint === undefined) expect(said).toEqual([]);
    else expect(said).toContain(complaint);
  });

  it("is in the system's keyring", async () => {
    const patient = createPatient();
    patient.write(".kimi-code/config.toml", 'storage = "keyring"\n');
    expect(badChecks(await patient.examine())).toMatchObject([
      {
        says: "no login found: kimi-code keeps its login in the system's keyring, where pi cannot share it",
        fix: "type /login kimi-coder in pi",
      },
    ]);
    patient.write(KIMI_CLI, login());
    expect(complaints(await patient.examine())).toEqual([]);
  });

  it("of a program that is not the one in use is nobody's fault, whatever it is like", async () => {
    const patient = createHealthyPatient();
    patient.write(".kimi-code/credentials/kimi-code.json", login(-31 * 86_400));
    patient.write(".opencode-kimi-auth/oauth.json", '{"encrypted": "…"}');
    const report = await patient.examine();
    expect(complaints(report)).toEqual([]);
    expect(shown(report)).toContain("– Login of kimi-code: not renewed for 31 d: it has ended");
    expect(shown(report)).toContain(
      "– Login of opencode-kimi-auth: its file is encrypted by opencode-kimi-auth",
    );
  });

  it("that pi alone has is looked at like any other, and its lock", async () => {
    const patient = createPatient();
    const keep = (expires: number) =>
      patient.write(
        ".pi/agent/auth.json",
        JSON.stringify({ "kimi-coder": { type: "oauth", access: "a", refresh: "r", expires } }),
      );
    keep(NOW + 60_000);
    const report = await patient.examine();
    expect(complaints(report)).toEqual([]);
    expect(shown(report)).toContain("✓ Login of pi: valid for 1 m");
    expect(shown(report)).toContain("✓ Lock ~/.pi/agent/kimi-coder.pi.flock: free");
    const names = report.groups.flatMap(({ checks }) => checks.map(({ name }) => name));
    expect(new Set(names).size).toBe(names.length);
    keep(NOW - 31 * 86_400_000);
    expect(badChecks(await patient.examine())).toMatchObject([
      {
        name: "Login of pi",
        says: "not renewed for 31 d: it has ended",
        fix: "type /login kimi-coder in pi, or log in with kimi-cli",
      },
    ]);
  });

  it("was ended in pi", async () => {
    const patient = createHealthyPatient();
    patient.write(".pi/agent/kimi-coder.json", '{"seeded": true, "seen": {}}');
    expect(complaints(await patient.examine())).toEqual(["Login in use: logged out in pi"]);
  });

  it("pi's copy is of the one in use, or will be", async () => {
    const patient = createHealthyPatient();
    const copyOf = async (source?: string) => {
      const entry = { type: "oauth", access: "a", refresh: "r", expires: NOW + 1000 };
      const whose = source === undefined ? {} : { owner: "kimi-cli", source };
      patient.write(".pi/agent/auth.json", JSON.stringify({ "kimi-coder": { ...entry, ...whose } }));
      return find(await patient.examine(), "pi's copy of the login");
    };
    expect(await copyOf(join(patient.home, KIMI_CLI))).toMatchObject({
      state: "ok",
      says: "of that of kimi-cli (~/.kimi/credentials/kimi-code.json)",
    });
    for (const source of ["/gone", undefined])
      expect(await copyOf(source)).toMatchObject({
        state: "none",
        says: "of a login that is not in use; one that is takes its place",
      });
  });

  it("a damaged auth.json", async () => {
    const patient = createHealthyPatient();
    patient.write(".pi/agent/auth.json", '{"anthropic": {"key": "sk-');
    expect(complaints(await patient.examine())).toEqual([
      "pi's copy of the login: auth.json is not a JSON object",
    ]);
  });
});

describe("files", () => {
  const regular = {
    state: "there",
    kind: "file",
    mode: 0o600,
    own: true,
    readable: true,
    writable: true,
  } as const;
  const folder = { ...regular, kind: "folder" } as const;
  const CREDENTIALS = "~/.kimi/credentials";
  const LOGIN = `kimi-cli: file: ${CREDENTIALS}/kimi-code.json`;

  it.each<[string, string, FileLook, string, string]>([
    ["unreadable", KIMI_CLI, { ...regular, readable: false }, `${LOGIN} cannot be read`, "chmod u+rw"],
    ["another's", KIMI_CLI, { ...regular, own: false }, `${LOGIN} belongs to another user`, 'chown "$USER"'],
    ["a FIFO", KIMI_CLI, { ...regular, kind: "other" }, `${LOGIN} is no file`, "move it away"],
    [
      "behind a closed folder",
      KIMI_CLI,
      { state: "failed", code: "EACCES" },
      `${LOGIN} cannot be looked at (EACCES)`,
      "make its folders open to you",
    ],
    [
      "read-only",
      ".kimi/credentials",
      { ...folder, writable: false },
      `kimi-cli: folder: ${CREDENTIALS} cannot be written: a renewed login could not be saved`,
      "chmod u+rwx",
    ],
    [
      "a folder",
      ".pi/agent/kimi-coder-settings.json",
      folder,
      "Own file kimi-coder-settings.json: ~/.pi/agent/kimi-coder-settings.json is a folder: what /kimi tools switched is not known",
      "move it away",
    ],
    [
      "a lock that is read-only",
      ".kimi/credentials/kimi-code.lock",
      { ...regular, writable: false },
      `Lock ${CREDENTIALS}/kimi-code.lock: ${CREDENTIALS}/kimi-code.lock cannot be written: the login cannot be renewed`,
      "chmod u+rw",
    ],
    [
      "a lock of another's",
      ".kimi/credentials/kimi-code.lock",
      { ...regular, own: false, writable: false },
      `Lock ${CREDENTIALS}/kimi-code.lock: ${CREDENTIALS}/kimi-code.lock belongs to another user: the login cannot be renewed`,
      'make it yours: chown "$USER"',
    ],
  ])("%s", async (_name, path, seen, says, fix) => {
    const patient = createHealthyPatient();
    const look: Probes["look"] = (at) =>
      at === join(patient.home, path) ? Promise.resolve(seen) : healthy.look(at);
    const report = await patient.examine({ look });
    expect(complaints(report)).toEqual([says]);
    expect(badChecks(report)[0]?.fix).toContain(fix);
  });

  it("of ours that are replaced may be read-only, and an id of the machine open", async () => {
    const patient = createHealthyPatient();
    patient.write(".pi/agent/kimi-coder-usage.json", "{}", 0o444);
    patient.write(".kimi/device_id", "0123456789abcdef0123456789abcdef", 0o644);
    expect(complaints(await patient.examine())).toEqual([]);
  });

  it("a link is followed", async () => {
    const patient = createPatient();
    patient.write("real.json", login(), 0o644);
    mkdirSync(join(patient.home, KIMI_CLI, ".."), { recursive: true });
    symlinkSync(join(patient.home, "real.json"), join(patient.home, KIMI_CLI));
    expect(complaints(await patient.examine())).toEqual([expect.stringContaining("has mode 0644")]);
  });

  it("kimi-cli's id of the machine matters only where it is sent", async () => {
    const patients = [createHealthyPatient(), createHealthyPatient({ KIMI_CODER_IDENTITY: "pi" })];
    const look: Probes["look"] = async (path) =>
      path.endsWith("device_id") ? { ...regular, readable: false } : healthy.look(path);
    const said = await Promise.all(
      patients.map(async (patient) => complaints(await patient.examine({ look }))),
    );
    expect(said).toEqual([
      ["Device id: ~/.kimi/device_id cannot be read: each pi makes up one of its own"],
      [],
    ]);
  });
});

describe("locks", () => {
  const NAME = "Lock ~/.kimi/credentials/kimi-code.lock";

  /** A patient whose kimi-cli lock is held by a process, as Linux tells it. */
  function heldBy(pid: number, program: string) {
    const patient = createHealthyPatient();
    const lock = join(patient.home, ".kimi/credentials/kimi-code.lock");
    writeFileSync(lock, "");
    patient.write(`proc/${pid}/comm`, `${program}\n`);
    patient.write(`proc/${pid}/fdinfo/3`, "pos:\t0\nlock:\t1: FLOCK  ADVISORY  WRITE 1 08:01:1 0 EOF\n");
    mkdirSync(join(patient.home, `proc/${pid}/fd`));
    symlinkSync(lock, join(patient.home, `proc/${pid}/fd/3`));
    return { patient, proc: join(patient.home, "proc") };
  }

  it.each([
    [4711, "a-secret", "held by process 4711"],
    [process.pid, "node", undefined],
  ])("are held by process %i, %s", async (pid, program, says) => {
    const { patient, proc } = heldBy(pid, program);
    const report = await patient.examine({ proc });
    expect(complaints(report)).toEqual(says === undefined ? [] : [`${NAME}: ${says}`]);
    if (says === undefined) expect(find(report, NAME)?.says).toMatch(/^held by this pi/);
  });

  it("are looked at again, for a renewal holds one for a moment", async () => {
    const patient = createHealthyPatient();
    const lock = join(patient.home, ".pi/agent/auth.json.lock");
    let looks = 0;
    const look: Probes["look"] = async (path) =>
      path.endsWith("kimi-code.lock") && ++looks < 3
        ? { state: "failed", code: "EACCES" }
        : healthy.look(path);
    mkdirSync(lock);
    utimesSync(lock, NOW / 1000 - 5, NOW / 1000 - 5);
    const held = "Lock ~/.pi/agent/auth.json.lock: held by a process that is alive";
    expect(complaints(await patient.examine({ look }))).toEqual([held]);
    expect(looks).toBe(3);
    // Whoever comes next takes it over.
    utimesSync(lock, NOW / 1000 - 3600, NOW / 1000 - 3600);
    expect(complaints(await patient.examine())).toEqual([]);
  });

  it("cannot be told where there is no /proc", async () => {
    const { patient } = heldBy(4711, "python3");
    expect(find(await patient.examine(), NAME)).toMatchObject({
      state: "none",
      says: "this system does not say who holds it",
    });
  });

  it("are the ones that the stores take", async () => {
    const patient = createPatient();
    patient.write(KIMI_CLI, login());
    patient.write(".kimi-code/credentials/kimi-code.json", login());
    const entry = { type: "oauth", access: "a", refresh: "r", expires: NOW };
    patient.write(".local/share/opencode/auth.json", JSON.stringify({ "kimi-for-coding-oauth": entry }));
    const names: string[] = [];
    for (const store of patient.stores.filter(({ region }) => region === "kimi.com")) {
      const taken = await takeLocks(store, { timeout: 1_000 });
      if (taken.state === "held") await taken.release();
      names.push(...store.locks.map(({ path }) => `Lock ~${path.slice(patient.home.length)}`));
    }
    const report = await patient.examine();
    expect(complaints(report)).toEqual([]);
    const checked = report.groups.flatMap(({ checks }) => checks.map(({ name }) => name));
    expect(names.filter((name) => !name.includes("opencode-kimi-auth") && !checked.includes(name))).toEqual(
      [],
    );
  });

  it.each<[string, (lock: string) => void, string]>([
    ["a file", (lock) => writeFileSync(lock, ""), "a file is in its place"],
    [
      "a folder with .DS_Store in it",
      (lock) => {
        mkdirSync(lock);
        writeFileSync(join(lock, ".DS_Store"), "");
      },
      "a folder with files in it (the Finder's .DS_Store, say) is in its place",
    ],
  ])("%s in the place of one is named by its path", async (_name, put, says) => {
    const patient = createPatient();
    patient.write(".kimi-code/credentials/kimi-code.json", login());
    patient.write(".kimi-code/oauth/kimi-code", "");
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

  it("of kimi-cli need a program that can take them", async () => {
    const folder = temporaryDirectory();
    expect(await canFlock(folder, "linux")).toBe(false);
    expect(await canFlock(folder, "darwin")).toBe(true);
    for (const program of ["perl", "flock"]) {
      const bin = temporaryDirectory();
      writeFileSync(join(bin, program), "", { mode: 0o755 });
      expect(await canFlock(`${folder}:${bin}`, "linux"), program).toBe(true);
    }
    const canNot = { canFlock: async () => false };
    expect(complaints(await createHealthyPatient().examine(canNot))).toEqual([
      "Means to lock: neither flock nor perl is installed: the lock of kimi-cli cannot be taken, and a login may be renewed twice",
    ]);
    // A folder stands in for our own, and the others' are folders.
    const other = createPatient();
    other.write(".kimi-code/credentials/kimi-code.json", login());
    expect(complaints(await other.examine(canNot))).toEqual([]);
  });
});

describe("network", () => {
  it.each([
    ["EAI_AGAIN", "DNS: the name cannot be resolved (EAI_AGAIN)"],
    ["CERT_HAS_EXPIRED", "TLS: its certificate is not accepted (CERT_HAS_EXPIRED)"],
    ["a-secret", "it cannot be reached (an error of another kind)"],
  ])("fails with %s", async (code, says) => {
    const report = await createHealthyPatient().examine({ fetch: failing(code) });
    expect(complaints(report)).toEqual([
      `API at api.kimi.com: ${says}`,
      `Authorization server at auth.kimi.com: ${says}`,
    ]);
  });

  it.each([
    [402, "says that the account has no membership (402)"],
    [403, "refuses this account (403)"],
    [404, "is not Kimi's (404)"],
    [302, "redirects to another address (302)"],
    [503, "answers with status 503"],
  ])("the API answers %d", async (status, says) => {
    const report = await createHealthyPatient().examine(answering(status));
    expect(complaints(report)).toEqual([`API at api.kimi.com: ${says}`]);
  });

  it.each([
    [61, "1 m behind the server's"],
    [-7_300, "2 h 1 m ahead of the server's"],
    [59, undefined],
  ])("the server's clock is %d s later", async (seconds, says) => {
    const report = await createHealthyPatient().examine(answering(200, NOW + seconds * 1000));
    expect(complaints(report)).toEqual(says === undefined ? [] : [`Clock: ${says}`]);
  });

  it("is given up after its limit", async () => {
    const fetch: Probes["fetch"] = (_url, init) =>
      new Promise((_, reject) => init?.signal?.addEventListener("abort", () => reject(init.signal?.reason)));
    expect(await askHost({ ...healthy, fetch }, "https://api.kimi.com", undefined, 20)).toEqual({
      state: "lost",
      code: "ETIMEDOUT",
    });
  });

  it("is left alone while a variable is refused", async () => {
    const patient = createHealthyPatient({ KIMI_CODE_BASE_URL: "a secret", KIMI_CODER_IDENTITY: "me" });
    const report = await patient.examine({
      fetch: () => {
        throw new Error("nothing may be sent");
      },
    });
    expect(complaints(report)).toEqual([
      "Configuration variables: KIMI_CODE_BASE_URL is not an http(s) URL and KIMI_CODER_IDENTITY is neither pi nor kimi-cli, and nothing is sent",
    ]);
  });

  it("is not by a proxy of another kind, which is named and not shown; pi does not go by ALL_PROXY", async () => {
    const socks = { https_proxy: "socks5://127.0.0.1:7890", ALL_PROXY: "socks5://127.0.0.1:7890" };
    expect(complaints(await createHealthyPatient(socks).examine())).toEqual([
      "Proxy variables: HTTPS_PROXY names no http(s) proxy",
    ]);
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
    expect(reportJson(report).about).toMatchObject({ node: null, runtime: "Bun 1.4.5" });
    expect(shown(report).join("\n")).not.toContain("26.3.0");
  });

  it("agrees with the README on the versions of pi", () => {
    const [, section = ""] = readReadme().split("### Versions of pi\n");
    const table = section.split("\n\n").find((part) => part.startsWith("| pi |")) ?? "";
    const said = table.split("\n").flatMap((row) => {
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
    [{ packages: ["npm:pi-kimi-coder", "npm:unrelated"] }, undefined],
    [{ packages: ["npm:pi-kimi-coder@1.0.0", "/somewhere/pi-kimi-coder"] }, /installed twice/],
    [
      { packages: ["npm:something", { source: "npm:@secret/pi-kimi@2" }] },
      /packages\[1\] in ~\/\.pi\/agent\/settings\.json$/,
    ],
    [{ packages: ["git:github.com/secret/kimi-for-pi@v1"] }, /packages\[0\]/],
    [{ packages: ["git:github.com/secret/pi-kimi-coder.git@v1"] }, undefined],
    [{ extensions: ["./mine/kimi.ts"] }, /extensions\[0\]/],
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

  it("another is in the project's settings", async () => {
    const patient = createHealthyPatient();
    patient.write("work/.pi/settings.json", '{"packages": ["npm:kimi"]}');
    expect(complaints(await patient.examine())).toEqual([
      "Other extensions for Kimi: there is one: packages[0] in the project's .pi/settings.json",
    ]);
  });
});

describe("the quota", () => {
  const kept = (usedPercent: number, resetsAt: number) => {
    const window: QuotaWindow = {
      kind: "week",
      label: "the server's own words",
      usedPercent,
      resetsAt,
      length: 604_800_000,
    };
    const figures = { plan: "the server's", windows: [window], parallelLimit: undefined, wallet: undefined };
    return { figures, fetchedAt: NOW - 300_000 };
  };

  it.each([
    [undefined, "none", "not asked yet; /kimi usage asks"],
    [kept(0.4, NOW + 1), "ok", "<1 % of the week used, asked 5 m ago"],
    [kept(99.9, NOW + 1), "ok", "99 % of the week used, asked 5 m ago"],
    [kept(100, NOW + 1), "bad", "100 % of the week used, asked 5 m ago"],
    [kept(100, NOW - 1), "ok", "nothing is used, asked 5 m ago"],
  ])("%#", (figures, state, says) => {
    expect(checkQuota(figures, NOW)).toMatchObject({ state, says });
  });
});
