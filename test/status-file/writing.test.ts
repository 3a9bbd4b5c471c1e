/** Where the status file is, whose it is, how it is written, and what a failure says. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { classOf, failureOf } from "../../extensions/status-file/failure.ts";
import { BEGINNING, type Lifecycle } from "../../extensions/status-file/lifecycle.ts";
import { textOf } from "../../extensions/status-file/outcome.ts";
import { claim, isClaimedBy, OWNER_VARIABLE } from "../../extensions/status-file/owner.ts";
import { statusPath } from "../../extensions/status-file/path.ts";
import { createPublisher, sayUnwritable } from "../../extensions/status-file/publish.ts";
import { contentOf, readQuota } from "../../extensions/status-file/record.ts";
import { patienceAfter, saysSettled, USUAL_RETRIES } from "../../extensions/status-file/repetition.ts";
import { readBefore } from "../../extensions/status-file/restore.ts";
import { asksForStatus, loginRefusal } from "../../extensions/unattended.ts";
import { keepFigures } from "../../extensions/usage/kept.ts";
import { complaints } from "./schema.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "status-file-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const surroundings = { home: "/home/a", cwd: "/project", agentDir: "/home/a/.pi/agent" };
const done: Lifecycle = { ...BEGINNING, sessionId: "s", turn: 1, rest: { state: "completed" } };

describe("the path", () => {
  test.each([
    [{}, undefined],
    [{ KIMI_CODER_STATUS_FILE: " " }, undefined],
    [{ KIMI_CODER_STATUS_FILE: "/run/a.json", CAO_TERMINAL_ID: "ab" }, "/run/a.json"],
    [{ KIMI_CODER_STATUS_FILE: "a.json" }, "/project/a.json"],
    [{ KIMI_CODER_STATUS_FILE: "~/a.json" }, "/home/a/a.json"],
    [{ CAO_TERMINAL_ID: "ab12-cd.3" }, "/home/a/.pi/agent/kimi-coder-status/ab12-cd.3.json"],
  ])("for %j is %s", (env, path) => {
    expect(statusPath(env, surroundings)).toEqual(path && { state: "asked", path });
    expect(asksForStatus(env)).toBe(path !== undefined);
  });

  test.each(["../x", "..", ".x", "a/b", "a\\b", "a\0b", "a b", "x".repeat(200)])(
    "for the id %j is none",
    (id) => {
      expect(statusPath({ CAO_TERMINAL_ID: id }, surroundings)).toMatchObject({ state: "refused" });
    },
  );
});

test("a login is refused where nobody is there", () => {
  expect(loginRefusal({}, ["node", "pi"])).toBeUndefined();
  expect(loginRefusal({}, ["node", "pi", "--mode", "interactive"])).toBeUndefined();
  for (const words of [["-p"], ["--print"], ["--mode", "json"], ["--mode", "rpc"]])
    expect(loginRefusal({}, ["node", "pi", ...words])).toContain("start pi in a terminal");
  expect(loginRefusal({ CAO_TERMINAL_ID: "a" }, [])).toContain("status file");
});

test("the file belongs to the first of a family of processes, as long as it lives", () => {
  const alive = () => true;
  const parent: Record<string, string | undefined> = {};
  expect(isClaimedBy(parent, 10, "/a")).toBe(false);
  expect(claim(parent, 10, "/a", alive)).toBe(true);
  expect(isClaimedBy(parent, 10, "/a")).toBe(true);
  expect([isClaimedBy(parent, 11, "/a"), isClaimedBy(parent, 10, "/b")]).toEqual([false, false]);
  expect(claim(parent, 10, "/a", alive)).toBe(true);
  expect(claim({ ...parent }, 11, "/a", alive)).toBe(false);
  expect(claim({ ...parent }, 11, "/a", () => false)).toBe(true);
  const own = { ...parent };
  expect(claim(own, 11, "/b", alive)).toBe(true);
  expect(own[OWNER_VARIABLE]).toBe("11:/b");
});

describe("writing", () => {
  const publisher = (path: string, said: string[] = []) =>
    createPublisher({
      path,
      before: readBefore(path, 7),
      now: () => 1_000,
      warn: (sentence) => said.push(sentence),
    });

  test("keeps to the schema, and is read back by the same process alone", () => {
    const path = join(folder, "s.json");
    const life: Lifecycle = { ...done, message: "x".repeat(9_000), model: "kimi-coder/k3" };
    publisher(path)(contentOf(life, 7, null));
    expect(complaints(JSON.parse(readFileSync(path, "utf8")))).toEqual([]);
    expect(readBefore(path, 7)).toMatchObject({ state: "ours", life });
    const next = publisher(path);
    next(contentOf(life, 7, null));
    expect(readdirSync(folder)).toHaveLength(2);
    next(contentOf({ ...life, running: true }, 7, null));
    expect(readdirSync(folder)).toEqual(["s.json"]);
    for (const pid of [8, undefined])
      expect(readBefore(path, pid)).toMatchObject({ state: "ours", life: undefined });
  });

  test("removes the long message of a pi that was killed, and no other file", () => {
    const path = join(folder, "s.json");
    const other = join(folder, "precious.txt");
    const old = `${path}.message-1.txt`;
    for (const messageFile of [old, other]) {
      writeFileSync(messageFile, "text");
      writeFileSync(path, JSON.stringify({ version: 1, pid: 6, messageFile }));
      publisher(path)(contentOf(BEGINNING, 7, null));
    }
    expect(readdirSync(folder).sort()).toEqual(["precious.txt", "s.json"]);
  });

  test("warns once where it cannot write, and leaves what is somebody else's", () => {
    const path = join(folder, "s.json");
    for (const text of ["dear diary", "{}", "[1]", '{"version":1}']) {
      writeFileSync(path, text);
      const said: string[] = [];
      const publish = publisher(path, said);
      publish(contentOf(BEGINNING, 7, null));
      publish(contentOf(done, 7, null));
      expect(said).toHaveLength(1);
      expect(readFileSync(path, "utf8")).toBe(text);
    }
    const said: string[] = [];
    mkdirSync(join(folder, "d"));
    const publish = publisher(join(folder, "d"), said);
    publish(contentOf(BEGINNING, 7, null));
    publish(contentOf(done, 7, null));
    expect(said).toEqual([
      expect.stringContaining("cannot be written (EISDIR); name another in KIMI_CODER_STATUS_FILE."),
    ]);
  });

  test.each([
    ["ENOSPC", "free the disk, or name"],
    ["EDQUOT", "free the disk, or name"],
    ["EACCES", "make it writable, or name"],
    ["EROFS", "make it writable, or name"],
    ["EISDIR", "name"],
    ["ENOTDIR", "name"],
    ["EFTYPE", "name"],
    ["something else is in it", "name"],
  ])("that fails with %s says: %s another", (why, action) => {
    expect(sayUnwritable("/s.json", why)).toBe(
      `Kimi Coder: the status file /s.json cannot be written (${why}); ${action} another in KIMI_CODER_STATUS_FILE.`,
    );
  });

  test("keeps the beginning of a long message whose own file cannot be written", () => {
    const path = join(folder, "s.json");
    const said: string[] = [];
    mkdirSync(`${path}.message-1000.txt`);
    const message = "€".repeat(5_000);
    publisher(path, said)(contentOf({ ...done, message }, 7, null));
    const record = JSON.parse(readFileSync(path, "utf8"));
    expect(record).toMatchObject({ state: "completed", messageFile: null });
    expect(record.message).toMatch(/^€+…$/);
    const length = Buffer.byteLength(record.message);
    expect(length).toBeLessThanOrEqual(8_192);
    expect(length).toBeGreaterThan(8_192 - 4);
    expect(said).toEqual([expect.stringContaining("(EISDIR)")]);
  });

  test("an empty file, as mktemp makes it, is there to be written", () => {
    const path = join(folder, "s.json");
    writeFileSync(path, "");
    publisher(path)(contentOf(BEGINNING, 7, null));
    expect(readBefore(path, 8).state).toBe("ours");
  });

  test("the plan's figures are told as they were last asked for", async () => {
    const path = join(folder, "usage.json");
    expect(readQuota(path)).toBeNull();
    const week = {
      kind: "week",
      label: "week",
      usedPercent: 26,
      resetsAt: 5_000,
      length: undefined,
    } as const;
    const figures = { plan: "Pro", windows: [week], parallelLimit: 3, wallet: undefined };
    await keepFigures(path, { owner: "o", path: "p", baseUrl: "b" }, { fetchedAt: 9, figures });
    const quota = readQuota(path);
    expect(quota).toMatchObject({ plan: "Pro", fetchedAt: 9, windows: [{ kind: "week", resetsAt: 5_000 }] });
    const content = contentOf(done, 7, quota);
    expect(complaints({ ...content, changedAt: 1, messageFile: null })).toEqual([]);
  });
});

describe("a failure", () => {
  test("has the class it was said for, and the next action of the sentence", () => {
    const sentence = "Kimi Coder: no login found; type /login kimi-coder, or set KIMI_CODER_API_KEY.";
    expect(failureOf(`Error: ${sentence}`, { sentence, class: classOf({ kind: "no-login" }) })).toMatchObject(
      {
        class: "no-login",
        nextAction: "type /login kimi-coder, or set KIMI_CODER_API_KEY",
      },
    );
    const quoted =
      "Kimi Coder: the plan's limit; wait until 5 p.m., or renew at https://kimi.com/x. (Kimi: No.)";
    expect(failureOf(quoted, undefined).nextAction).toBe("wait until 5 p.m., or renew at https://kimi.com/x");
  });

  test("of another provider is classified by its words, without tokens in it", () => {
    const failure = failureOf("429 rate limit for sk-abcdefghijklmnop", undefined);
    expect(failure.class).toBe("rate");
    expect(failure.message).not.toContain("abcdef");
    expect(failureOf("", undefined).message).not.toBe("");
  });
});

test("how long pi is given to go on by itself", () => {
  const error = (kind: string, message: string) =>
    ({ state: "error", error: { class: kind, message, nextAction: "wait" } }) as const;
  const transient = error("server", "Kimi has a server error (500)");
  const waits = (attempts: number) => patienceAfter(transient, attempts, USUAL_RETRIES);
  expect([waits(1), waits(2), waits(3)].map((ms) => ms > 2_000)).toEqual([true, true, true]);
  expect(waits(3)).toBeGreaterThan(8_000);
  expect(waits(4)).toBeLessThan(1_000);
  expect(patienceAfter(transient, 1, { ...USUAL_RETRIES, enabled: false })).toBeLessThan(1_000);
  expect(patienceAfter(error("membership", "no plan"), 1, USUAL_RETRIES)).toBeLessThan(1_000);
  expect(patienceAfter(error("overflow", "too long"), 1, USUAL_RETRIES)).toBeGreaterThan(1_000);
  expect(["0.73.1", "0.80.3", "0.80.4", "0.87.1", "1.5.2"].map(saysSettled)).toEqual([
    false,
    false,
    true,
    true,
    true,
  ]);
});

test("an answer's text is what it says, not what it thinks", () => {
  const usage = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, totalTokens: 0 };
  expect(
    textOf({
      role: "assistant",
      content: [
        { type: "thinking", thinking: "hm" },
        { type: "text", text: "one" },
        { type: "text", text: "two\n" },
      ],
      api: "a",
      provider: "p",
      model: "m",
      usage: { ...usage, cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 } },
      stopReason: "stop",
      timestamp: 0,
    }),
  ).toBe("one\ntwo");
});
