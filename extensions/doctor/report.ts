/** What a check of the doctor is, and its findings as lines for a person and as one JSON object for a program. */
import type { Line } from "../reply.ts";

/** One thing that is looked at. */
export interface Check {
  readonly name: string;
  readonly check: () => Finding | Promise<Finding>;
}

/**
 * It may be pasted into an issue, so it is made of words that stand in this folder, of numbers, and of what names.ts
 * gives names to: nothing that stands in a file, in a variable or in a server's answer gets in here.
 */
export interface Finding {
  /** "none": there is nothing to check, no way to, or nothing depends on it. */
  readonly state: "ok" | "bad" | "none";
  readonly says: string;
  /** What to do; of everything that is bad. */
  readonly fix?: string;
}

export function ok(says: string): Finding {
  return { state: "ok", says };
}

export function bad(says: string, fix: string): Finding {
  return { state: "bad", says, fix };
}

export function none(says: string): Finding {
  return { state: "none", says };
}

/** A check that was made. */
export type Checked = Finding & { readonly name: string };

export interface Report {
  /** Versions of the parts, and the system. */
  readonly about: {
    readonly extension: string;
    readonly pi: string;
    /** Null where pi runs on something else. */
    readonly node: string | null;
    /** "Node 20.17.0" or "Bun 1.4.5". */
    readonly runtime: string;
    /** "linux x64" */
    readonly system: string;
  };
  readonly groups: readonly { readonly name: string; readonly checks: readonly Checked[] }[];
}

/** Makes the checks of all groups beside one another. */
export async function makeChecks(
  groups: Readonly<Record<string, readonly Check[]>>,
): Promise<Report["groups"]> {
  return Promise.all(
    Object.entries(groups).map(async ([name, checks]) => ({
      name,
      checks: await Promise.all(checks.map(async ({ name, check }) => ({ name, ...(await check()) }))),
    })),
  );
}

export function badChecks({ groups }: Pick<Report, "groups">): readonly Checked[] {
  return groups.flatMap(({ checks }) => checks).filter(({ state }) => state === "bad");
}

/** The verdict, what is wrong, and what is fine: of each group only the first, unless `all` are asked for. */
export function reportLines(report: Report, all: boolean): readonly Line[] {
  const wrong = badChecks(report);
  const { extension, pi, runtime, system } = report.about;
  const verdict = wrong.length === 1 ? "1 thing is wrong:" : `${wrong.length} things are wrong:`;
  return [
    { text: wrong.length === 0 ? "Nothing is wrong." : verdict, tone: "title" },
    ...wrong.flatMap(({ name, says, fix }): Line[] => [
      { text: `✗ ${name}: ${says}`, tone: "bad" },
      { text: `  → ${fix}`, tone: "fix" },
    ]),
    ...report.groups.flatMap(({ checks }) => (all ? restLines(checks) : firstFine(checks))),
    { text: `pi-kimi-coder ${extension} on pi ${pi}, ${runtime}, ${system}`, tone: "quiet" },
    ...(all ? [] : [{ text: "/kimi doctor --all lists every check.", tone: "quiet" } as const]),
  ];
}

const MARK = { ok: "✓", none: "–" };

function restLines(checks: readonly Checked[]): readonly Line[] {
  return checks.flatMap(({ name, state, says }) =>
    state === "bad" ? [] : [{ text: `${MARK[state]} ${name}: ${says}`, tone: "quiet" as const }],
  );
}

function firstFine(checks: readonly Checked[]): readonly Line[] {
  const [first, ...others] = checks.filter(({ state }) => state === "ok");
  if (!first) return [];
  const more = others.length === 0 ? "" : ` (${others.length} more fine)`;
  return [{ text: `${MARK.ok} ${first.name}: ${first.says}${more}`, tone: "quiet" }];
}

/** Documented in docs/json.md; members are only ever added. */
export function reportJson({ about, groups }: Report) {
  return {
    version: 1,
    ok: badChecks({ groups }).length === 0,
    about,
    checks: groups.flatMap(({ name: group, checks }) =>
      checks.map(({ name, state, says, fix }) => ({ group, name, state, says, fix: fix ?? null })),
    ),
  };
}
