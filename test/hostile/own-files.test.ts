/** Whatever text stands in the files that we keep for ourselves, and in those the doctor looks at: shown safely, or not at all. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { readRules } from "../../extensions/concurrency/notes.ts";
import { fingerprint } from "../../extensions/credentials/fingerprint.ts";
import { noteRotation, parseNotes, readRotation } from "../../extensions/credentials/rotations.ts";
import { listedHolder, lookAtFolderLock } from "../../extensions/doctor/lock-holders.ts";
import { checkFolderLock } from "../../extensions/doctor/locks.ts";
import { checkNeighbours } from "../../extensions/doctor/neighbours.ts";
import { checkQuota } from "../../extensions/doctor/plan.ts";
import { stateOf } from "../../extensions/status-file/lifecycle.ts";
import { createPublisher } from "../../extensions/status-file/publish.ts";
import { contentOf, readQuota } from "../../extensions/status-file/record.ts";
import { readBefore } from "../../extensions/status-file/restore.ts";
import { footerText } from "../../extensions/usage/footer-text.ts";
import { readKeptFigures } from "../../extensions/usage/kept.ts";
import { layout, withoutColour } from "../../extensions/usage/layout.ts";
import { quotaWarnings } from "../../extensions/usage/quota-warning.ts";
import { report } from "../../extensions/usage/report.ts";
import { SECOND } from "../credentials/support/homes.ts";
import { healthy } from "../doctor/support.ts";
import { survives } from "./support/cases.ts";
import { asText, field, hostileText, hostileValue, parsed, SECRET, SHOWN } from "./support/values.ts";

const NOW = Date.UTC(2026, 10, 21);
const home = mkdtempSync(join(tmpdir(), "pi-kimi-hostile-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
const at = (name: string) => join(home, name);

const time = fc.oneof(
  fc.constantFrom(0, -1, NOW, NOW - 3_600_000, NOW + 3_600_000, 8.64e15, 8.64e15 + 1, 2 ** 53 - 1, 5e-324),
  fc.constantFrom(1e308, 0.5, "1800000000000"),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
const amount = fc.oneof(
  fc.constantFrom(0, 1, 50, 79.99, 100, 101, -1, 1e308, 5e-324),
  fc.double({ noNaN: true }),
);

/** A field that is seldom wrong, of records in which many must be right. */
const mostly = (right: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 14, arbitrary: right }, { weight: 1, arbitrary: hostileValue });

/** What comes of counting with what is none. */
const NO_NUMBER = /NaN|Infinity|undefined|Invalid/;

describe("kimi-coder-usage.json", () => {
  const window = fc.record({
    kind: field(fc.constantFrom("5h", "week", "month", "month-code", "other")),
    label: field(fc.oneof(hostileText, fc.constantFrom("5 hours", "日本".repeat(40)))),
    usedPercent: field(amount),
    resetsAt: field(time),
    length: field(time),
  });
  const wallet = fc.record({
    leftCents: field(amount),
    totalCents: field(amount),
    monthlyUsedCents: field(amount),
    monthlyLimitCents: field(amount),
    currency: field(fc.constantFrom("USD", "usd", "U\u001b[")),
  });
  const figures = fc.record({
    plan: field(hostileText),
    windows: field(fc.array(fc.oneof(window, window, hostileValue), { maxLength: 14 })),
    parallelLimit: field(amount),
    wallet: field(wallet),
  });
  const kept = fc.record({ fetchedAt: field(time), account: field(hostileText), figures: field(figures) });
  const path = at("kimi-coder-usage.json");

  survives(
    "holds figures that can be shown at any width, warned of and counted with, or none",
    fc.tuple(asText(fc.oneof(kept, kept, hostileValue)), fc.integer({ min: 1, max: 200 })),
    ([text, width]) => {
      writeFileSync(path, text);
      const found = readKeptFigures(path);
      // Of an account they are only where they say so.
      expect(
        readKeptFigures(path, { owner: "kimi-cli", path: "/x", baseUrl: "https://a.b" }),
      ).toBeUndefined();
      const { limit } = readRules([], NOW, found?.figures.parallelLimit);
      expect(limit === undefined || limit >= 1).toBe(true);
      const quota = readQuota(path);
      expect(quota === null).toBe(!found);
      if (!found) return false;
      const notice = { text: "asking Kimi…", tone: "dim" } as const;
      const lines = layout({ kept: found, notice, now: NOW }, width, withoutColour);
      const warned = quotaWarnings(found, NOW).map(({ text: warning }) => warning);
      const doctor = checkQuota(found, NOW);
      for (const line of [...lines, footerText(found, NOW) ?? "", ...warned, doctor.says, doctor.fix ?? ""]) {
        expect(line).toMatch(SHOWN);
        if (!NO_NUMBER.test(text)) expect(line).not.toMatch(NO_NUMBER);
        expect(line.length).toBeLessThan(2_000);
      }
      expect(lines.length).toBeLessThan(2_000);
      const json = report(found, undefined, NOW);
      for (const one of [
        json.fetchedAt,
        ...json.windows.flatMap(({ resetsAt, emptyAt }) => [resetsAt, emptyAt]),
      ])
        expect(one === null || Number.isFinite(Date.parse(one))).toBe(true);
      expect(parsed(JSON.stringify({ json, quota }))).toEqual({ json, quota });
      return true;
    },
  );
});

describe("kimi-coder-renewals.json", () => {
  const path = at("kimi-coder-renewals.json");
  const store = "/home/a/.kimi/credentials/kimi-code.json";
  const note = fc.record({
    how: mostly(fc.constantFrom("renewed", "logged-in")),
    at: mostly(fc.oneof(time, fc.constantFrom(NOW, 8.64e15 + 1))),
    pid: mostly(fc.oneof(fc.nat(), fc.constantFrom(0, -1, 2 ** 53 - 1))),
    refresh: mostly(fc.constant(fingerprint(SECOND.refreshToken))),
  });
  const notes = fc.oneof(
    fc.dictionary(fc.oneof(fc.constantFrom(store, "__proto__", "constructor"), hostileText), note, {
      maxKeys: 3,
    }),
    fc.record({ [store]: note }),
    hostileValue,
  );

  survives("holds notes of a time and a process that there can be, or none", asText(notes), (text) => {
    writeFileSync(path, text);
    const found = [...parseNotes(parsed(text)).values()];
    const own = readRotation(path, store, SECOND);
    for (const one of own ? [...found, own] : found) {
      expect(one.how).toMatch(/^(?:renewed|logged-in)$/);
      expect(new Date(one.at).getTime()).toBe(one.at);
      expect(one.pid > 0 && one.pid <= 2 ** 32).toBe(true);
    }
    return own !== undefined;
  });

  test("keeps what it held when a note is written, whatever the names", async () => {
    const whole = { how: "renewed", at: 1, pid: 2, refresh: "x" };
    writeFileSync(
      path,
      `{"__proto__":${JSON.stringify(whole)},"\\u001b[2J":${JSON.stringify(whole)},"bad":1}`,
    );
    await noteRotation(path, store, SECOND, { how: "logged-in", at: 5, pid: 6 });
    const text = readFileSync(path, "utf8");
    expect([...parseNotes(JSON.parse(text)).keys()]).toEqual(["__proto__", "\u001b[2J", store]);
    expect(text).not.toContain(SECOND.refreshToken);
  });
});

describe("the status file that was there before", () => {
  const folder = mkdtempSync(join(home, "status-"));
  const path = join(folder, "a.json");
  const outside = at("not-ours.txt");
  writeFileSync(outside, "kept");
  const failure = fc.record({
    class: field(fc.constantFrom("auth", "network")),
    message: field(hostileText),
    nextAction: field(hostileText),
  });
  const names = fc.oneof(
    fc.constantFrom(`${path}.message-1.txt`, outside, `${path}.message-1/../../not-ours.txt`, path),
    fc.constantFrom(`${path}.message-../../not-ours.txt`, "a.json.message-1.txt", `${folder}/b.json`),
    hostileText.map((text) => `${path}.message-${text}`),
  );
  const record = fc.record({
    version: mostly(fc.constant(1)),
    pid: mostly(fc.constantFrom(7, 7, 7, 8)),
    exit: mostly(fc.constantFrom(null, null, null, { at: 1, code: 0 })),
    sessionId: mostly(hostileText),
    state: mostly(fc.constantFrom("idle", "completed", "error", "processing", "starting")),
    turn: mostly(fc.oneof(fc.nat(), amount)),
    model: field(hostileText),
    message: field(hostileText),
    messageFile: field(names),
    error: field(failure),
  });

  survives(
    "is ours, of which only a message beside it is removed, or it is left alone",
    asText(fc.oneof(record, record, record, hostileValue)),
    (text) => {
      writeFileSync(path, text);
      const before = readBefore(path, 7);
      if (before.state === "ours" && before.messageFile !== undefined) {
        expect(dirname(before.messageFile)).toBe(folder);
        expect(basename(before.messageFile)).toMatch(/^a\.json\.message-/);
      }
      const life = before.state === "ours" ? before.life : undefined;
      if (life) {
        expect(stateOf(life)).toMatch(/^(?:idle|completed|error)$/);
        const content = contentOf(life, 7, null);
        expect(Number.isSafeInteger(content.turn) && content.turn >= 0).toBe(true);
        expect(parsed(JSON.stringify(content))).toEqual(content);
      }
      return life !== undefined;
    },
  );

  test.each([outside, `${path}.message-../../not-ours.txt`, `${path}.message-1/../../not-ours.txt`])(
    "cannot make us remove %s",
    (messageFile) => {
      const said: string[] = [];
      const status = { version: 1, pid: 7, exit: null, sessionId: "s", turn: 1, state: "idle", messageFile };
      writeFileSync(path, JSON.stringify(status));
      const before = readBefore(path, 7);
      if (before.state !== "ours" || !before.life) throw new Error("it is ours");
      const publish = createPublisher({ path, before, now: () => NOW, warn: (one) => said.push(one) });
      publish(contentOf({ ...before.life, message: "x".repeat(10_000) }, 7, null));
      publish(contentOf({ ...before.life, message: "short" }, 7, null));
      expect(said).toEqual([]);
      expect(readFileSync(outside, "utf8")).toBe("kept");
      expect(readdirSync(folder)).toEqual(["a.json"]);
    },
  );
});

describe("settings.json of pi and of a project", () => {
  const source = fc.oneof(
    hostileText,
    fc.constantFrom("npm:pi-kimi-coder", "git:github.com/x/kimi-y@1", "./pi-moonshot.ts", "npm:@a/kimi@2"),
    hostileText.map((text) => `npm:kimi-${SECRET}${text}`),
    hostileText.map((text) => `https://${SECRET}@kimi/${text}`),
  );
  const entry = fc.oneof(source, fc.record({ source: field(source) }), hostileValue);
  const settings = fc.record({
    packages: field(fc.array(entry, { maxLength: 6 })),
    extensions: field(fc.array(entry, { maxLength: 6 })),
  });
  const seen = (value: unknown, names: readonly string[] = []) => ({
    settings: [{ shown: "~/.pi/agent/settings.json", folder: "/home/a/.pi/agent", value }],
    folders: [{ shown: "~/.pi/agent/extensions", names }],
    commands: [],
    root: "/opt/pi-kimi-coder",
  });

  survives(
    "name neighbours, of which nothing is repeated",
    fc.tuple(asText(settings), fc.array(hostileText, { maxLength: 3 })),
    ([text, names]) => {
      const check = checkNeighbours(seen(parsed(text), names));
      const said = `${check.name}: ${check.says} ${check.fix ?? ""}`;
      expect(said).toMatch(SHOWN);
      expect(said.length).toBeLessThan(1_000);
      expect(said.replace(/(?:packages|extensions)\[\d\]|~\/\.pi\/agent\/\w+(?:\.json)?/g, "")).toMatch(
        /^[\w' (),.:;-]*$/,
      );
      expect(said).not.toContain(SECRET);
      return check.state === "bad";
    },
  );

  test.each(["@", "/", ":", "npm:", "npm:@", "@a/", ".git", "\\", " ", "\n"])(
    "of a megabyte of %j take no time that grows with the square of its length",
    (piece) => {
      for (const end of ["", "\n", "\nx", "/kimi"]) {
        for (const before of ["", "npm:", "git:", "./"]) {
          const text = before + piece.repeat(1_000_000 / piece.length) + end;
          const begun = performance.now();
          checkNeighbours(seen({ packages: [text] }, [text]));
          expect(performance.now() - begun).toBeLessThan(500);
        }
      }
    },
  );

  test("of 20,000 neighbours are one line that can be read", () => {
    for (const name of ["npm:kimi-x", "npm:pi-kimi-coder", "npm:moonshot"]) {
      const { says, fix = "" } = checkNeighbours(seen({ packages: Array(20_000).fill(name) }));
      expect(`${says} ${fix}`.length).toBeLessThan(1_000);
    }
  });
});

describe("what Linux and others say of locks", () => {
  const folder = mkdtempSync(join(home, "lock-"));
  const pid = fc.oneof(fc.constantFrom(1, 0, -1, 2 ** 31, 1.5, "1"), fc.nat());
  const owner = fc.record({ token: field(hostileText), pid: field(pid), updatedAt: field(time) });

  survives("owner.json names a process, or nobody", asText(owner), async (text) => {
    writeFileSync(join(folder, "owner.json"), text);
    const seen = await lookAtFolderLock(folder, Date.now());
    expect(seen.state).toBe("held");
    const probes = { ...healthy, folder: async () => seen };
    const check = await checkFolderLock(probes, () => "a lock", { path: folder, stale: 120_000 });
    expect(check.says).toMatch(/^held by (?:process \d{1,10}|a process that is alive|this pi, .*)$/);
    return seen.state === "held" && seen.pid !== undefined;
  });

  const file = { dev: 2_049, ino: 1_234 };
  const line = fc.oneof(
    hostileText,
    fc
      .tuple(fc.constantFrom("FLOCK", "POSIX", "x"), fc.constantFrom("71", "-1", "x", ""), fc.boolean())
      .map(([kind, holder, same]) => `1: ${kind}  ADVISORY  WRITE ${holder} 08:01:${same ? 1_234 : 1} 0 EOF`),
  );
  survives("/proc/locks names a holder, or none", fc.array(line, { maxLength: 6 }), (lines) => {
    const holder = listedHolder(lines.join("\n"), file);
    // Whatever is no number above zero counts as nobody who can be named.
    expect(holder === undefined || holder === 71 || !(holder > 0)).toBe(true);
    if (holder === 71) expect(lines).toContainEqual(expect.stringMatching(/FLOCK .* 71 08:01:1234 /));
    return holder === 71;
  });
});
