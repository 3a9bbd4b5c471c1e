/** The doctor's checks as lines for a person, and as one JSON object for a program. */
import type { Check } from "./check.ts";

export interface Group {
  /** "files", "locks", … */
  readonly name: string;
  readonly checks: readonly Check[];
}

export interface Report {
  /** Versions of the parts, and the system. */
  readonly about: {
    readonly extension: string;
    readonly pi: string;
    readonly node: string;
    readonly system: string;
  };
  readonly groups: readonly Group[];
}

const MARK: Readonly<Record<Check["state"], string>> = { ok: "✓", bad: "✗", none: "–" };

export function badChecks({ groups }: Pick<Report, "groups">): readonly Check[] {
  return groups.flatMap(({ checks }) => checks).filter(({ state }) => state === "bad");
}

export function reportLines(report: Report): readonly string[] {
  const { extension, pi, node, system } = report.about;
  const count = badChecks(report).length;
  return [
    `pi-kimi-coder ${extension} on pi ${pi}, Node ${node}, ${system}`,
    ...report.groups.flatMap(({ checks }) => checks.flatMap(checkLines)),
    count === 0 ? "Nothing is wrong." : `${count} ${count === 1 ? "thing is" : "things are"} wrong, see ✗.`,
  ];
}

function checkLines({ name, state, says, fix }: Check): readonly string[] {
  const line = `${MARK[state]} ${name}: ${says}`;
  return fix === undefined ? [line] : [line, `  → ${fix}`];
}

/** Documented in README.md; members are only ever added. */
export function reportJson(report: Report) {
  return {
    version: 1,
    ok: badChecks(report).length === 0,
    about: report.about,
    checks: report.groups.flatMap(({ name: group, checks }) =>
      checks.map(({ name, state, says, fix }) => ({ group, name, state, says, fix: fix ?? null })),
    ),
  };
}
