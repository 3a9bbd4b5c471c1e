/** Whatever text stands in the files that we keep for ourselves, and in those the doctor looks at: shown safely, or not at all. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { checkQuota } from "../../extensions/doctor/plan.ts";
import { checkNeighbours } from "../../extensions/doctor/program.ts";
import { readRules } from "../../extensions/queue/tickets.ts";
import { parseFigures } from "../../extensions/quota/figures.ts";
import { footerText } from "../../extensions/quota/footer.ts";
import { readKeptFigures } from "../../extensions/quota/kept.ts";
import { layout, withoutColour } from "../../extensions/quota/layout.ts";
import { report } from "../../extensions/quota/report.ts";
import { readBeginning, sessionUse } from "../../extensions/quota/session-use.ts";
import { quotaWarnings } from "../../extensions/quota/warnings.ts";
import { BEGINNING, contentOf, quotaOf } from "../../extensions/worker/record.ts";
import { openStatusFile } from "../../extensions/worker/status-file.ts";
import { accepts } from "../chat/payload/json-schema.ts";
import { keepsToSchema } from "../support/status-file.ts";
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
const isoTime = fc.oneof(
  fc
    .constantFrom(0, NOW - 3_600_000, NOW + 3_600_000, NOW + 7e9, 8.64e15)
    .map((at) => new Date(at).toISOString()),
  time,
);
const amount = fc.oneof(
  fc.constantFrom(0, 1, 50, 79.99, 100, 101, -1, 1e308, 5e-324),
  fc.double({ noNaN: true }),
);

/** A field that is seldom wrong, of records in which many must be right. */
const mostly = (right: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 14, arbitrary: right }, { weight: 1, arbitrary: hostileValue });

const schema: unknown = JSON.parse(
  readFileSync(new URL("../../extensions/quota/report.schema.json", import.meta.url), "utf8"),
);

/** What comes of counting with what is none. */
const NO_NUMBER = /NaN|Infinity|undefined|Invalid/;

describe("kimi-coder-usage.json", () => {
  const detail = fc.record({
    limit: field(amount),
    used: field(amount),
    remaining: field(amount),
    resetTime: field(isoTime),
  });
  const share = fc.record({ used_ratio: field(amount), reset_time: field(isoTime) });
  const name = fc.oneof(
    fc.constantFrom("limit_5h", "limit_7d", "limit_month_total", "limit_month_code", "日本".repeat(40)),
    hostileText,
  );
  const window = fc.record({ duration: field(amount), timeUnit: fc.constantFrom("MINUTE", "TIME_UNIT_DAY") });
  const limit = fc.record({ window: field(window), detail: field(detail), name: field(hostileText) });
  const cents = fc.record({ currency: field(hostileText), priceInCents: field(amount) });
  const balance = fc.record({ amount: field(amount), amountLeft: field(amount) });
  const answer = fc.record({
    user_level_name: field(hostileText),
    user: field(fc.record({ membership: field(fc.record({ level: field(hostileText) })) })),
    usage: field(detail),
    limits: field(fc.array(fc.oneof(limit, limit, hostileValue), { maxLength: 14 })),
    usages: field(fc.dictionary(name, field(share), { maxKeys: 14 })),
    parallel: field(fc.record({ limit: field(amount) })),
    boosterWallet: field(fc.record({ balance: field(balance), monthlyUsed: field(cents) })),
  });
  const asked = fc.record({ at: field(time), answer: field(answer) });
  const kept = fc.record({ account: field(hostileText), asked: field(asked) });
  const path = at("kimi-coder-usage.json");

  survives(
    "holds figures that can be shown at any width, warned of and counted with, or none",
    fc.tuple(asText(fc.oneof(kept, kept, hostileValue)), fc.integer({ min: 1, max: 200 })),
    ([text, width]) => {
      writeFileSync(path, text);
      const found = readKeptFigures(path);
      // Of an account they are only where they say so.
      expect(readKeptFigures(path, "0123456789abcdef")).toBeUndefined();
      const { limit } = readRules([], NOW, found?.figures.parallelLimit);
      expect(limit === undefined || limit >= 1).toBe(true);
      if (!found) return false;
      const quota = quotaOf(found, NOW);
      const session = sessionUse([], undefined, found);
      const lines = layout(
        { kept: found, session, asking: true, problem: undefined, now: NOW },
        width,
        withoutColour,
      );
      const warned = quotaWarnings(found, NOW).map(({ text: warning }) => warning);
      const doctor = checkQuota(found, NOW);
      for (const line of [...lines, footerText(found, NOW) ?? "", ...warned, doctor.says, doctor.fix ?? ""]) {
        expect(line).toMatch(SHOWN);
        if (!NO_NUMBER.test(text)) expect(line).not.toMatch(NO_NUMBER);
        expect(line.length).toBeLessThan(2_000);
      }
      expect(lines.length).toBeLessThan(2_000);
      const json = report(found, session, undefined, NOW);
      expect(accepts(schema, json)).toBe(true);
      expect(json.windows.length).toBeLessThanOrEqual(12);
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

describe("the notes in a session", () => {
  const beginning = fc.record({
    account: mostly(fc.constant("a")),
    at: mostly(time),
    windows: mostly(
      fc.array(
        fc.record({
          label: mostly(fc.constantFrom("5 hours", "week")),
          usedPercent: mostly(amount),
          resetsAt: field(time),
        }),
        { maxLength: 14 },
      ),
    ),
  });
  const note = fc.record({ beginning: mostly(beginning), tools: field(hostileText) });
  const usage = fc.record({ input: field(amount), cacheRead: field(amount), cacheWrite: field(amount) });
  const message = fc.record({
    role: fc.constant("assistant"),
    provider: mostly(fc.constant("kimi-coder")),
    model: field(hostileText),
    usage: mostly(usage),
  });
  const entry = fc.oneof(
    fc.record({
      type: fc.constant("custom"),
      customType: fc.constant("kimi-coder-usage"),
      data: mostly(note),
    }),
    fc.record({ type: fc.constant("message"), message: mostly(message) }),
    fc.record({ type: fc.constantFrom("thinking_level_change", "compaction", "message") }),
    hostileValue,
  );
  const usages = { limit_5h: { used_ratio: 0.5 }, limit_7d: { used_ratio: 0.2 } };
  const figures = parseFigures({ usages });

  survives("are counted with, or not at all", asText(fc.array(entry, { maxLength: 8 })), (text) => {
    const entries = parsed(text);
    if (!figures || !Array.isArray(entries)) return false;
    const kept = { figures, fetchedAt: NOW };
    const session = sessionUse(entries, readBeginning(entries, "a"), kept);
    const lines = layout({ kept, session, asking: true, problem: undefined, now: NOW }, 80, withoutColour);
    for (const line of lines) {
      expect(line).toMatch(SHOWN);
      if (!NO_NUMBER.test(text)) expect(line).not.toMatch(NO_NUMBER);
    }
    const json = report(kept, session, undefined, NOW);
    expect(accepts(schema, json)).toBe(true);
    expect(parsed(JSON.stringify(json))).toEqual(json);
    return session.since !== null;
  });
});

describe("the status file that was there before", () => {
  const path = at("a.json");
  const record = fc.record({ version: mostly(fc.constant(1)), pid: mostly(fc.constant(7)) });

  survives(
    "is replaced by ours, or left as it is with a warning",
    asText(fc.oneof(record, record, record, hostileValue)),
    (text) => {
      writeFileSync(path, text);
      const before = readFileSync(path, "utf8");
      const complaint = openStatusFile(path)(contentOf(BEGINNING, 7));
      const after = readFileSync(path, "utf8");
      expect(complaint ? after === before : keepsToSchema(parsed(after))).toBe(true);
      return complaint === undefined;
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
  const check = (settings: unknown, names: readonly string[] = []) =>
    checkNeighbours(
      [{ shown: "~/.pi/agent", folder: "/home/a/.pi/agent", settings, names }],
      "/opt/pi-kimi-coder",
    );

  survives(
    "name neighbours, of which nothing is repeated",
    fc.tuple(asText(settings), fc.array(hostileText, { maxLength: 3 })),
    ([text, names]) => {
      const { state, says, fix = "" } = check(parsed(text), names);
      const said = `${says} ${fix}`;
      expect(said).toMatch(SHOWN);
      expect(said.length).toBeLessThan(1_000);
      expect(said.replace(/(?:packages|extensions)\[\d\]|~\/\.pi\/agent\/\w+(?:\.json)?/g, "")).toMatch(
        /^[\w' (),.:;-]*$/,
      );
      expect(said).not.toContain(SECRET);
      return state === "bad";
    },
  );

  test.each(["@", "/", ":", "npm:", "npm:@", "@a/", ".git", "\\", " ", "\n"])(
    "of 200,000 characters, %j again and again, take no time that grows with the square of that",
    (piece) => {
      for (const end of ["", "\n", "\nx", "/kimi"]) {
        for (const before of ["", "npm:", "git:", "./"]) {
          const text = before + piece.repeat(200_000 / piece.length) + end;
          const begun = performance.now();
          check({ packages: [text] }, [text]);
          expect(performance.now() - begun).toBeLessThan(2_000);
        }
      }
    },
  );
});
