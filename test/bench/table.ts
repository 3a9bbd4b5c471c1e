/** The bench's table: one row for each figure, its target, and whether it is met. */
import type { Estimate } from "./measure.ts";

export interface Row {
  /** The letter of the question that it answers. */
  readonly part: "a" | "b" | "c" | "d" | "e" | "f" | "g" | "h";
  readonly what: string;
  /** Empty where a figure is only for comparison. */
  readonly target: string;
  readonly figure: string;
  readonly met?: boolean;
}

/** What a part of the bench is told. */
export interface Extent {
  /** Rounds of what is measured in time. */
  readonly runs: number;
  /** As little as shows that everything works: the figures mean nothing. */
  readonly quick: boolean;
  /** Says what is being done. */
  readonly note: (text: string) => void;
}

/** A Markdown table. */
export function tableOf(rows: readonly Row[]): string {
  const cells = [
    ["", "what", "target", "figure", "met"],
    ...rows.map(({ part, what, target, figure, met }) => [part, what, target, figure, verdict(met)]),
  ];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const lines = cells.map(
    (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`,
  );
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [...lines.slice(0, 1), rule, ...lines.slice(1)].join("\n");
}

function verdict(met: boolean | undefined): string {
  if (met === undefined) return "";
  return met ? "yes" : "NO";
}

export function inMs({ value, error }: Estimate): string {
  return `${value.toFixed(0)} ± ${error.toFixed(0)} ms`;
}

export function inPercent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** What one thing costs more than another, also as a share of `base` ms. */
export function surplus({ value, error }: Estimate, base: number): string {
  const sign = value < 0 ? "−" : "+";
  return `${sign}${Math.abs(value).toFixed(1)} ± ${error.toFixed(1)} ms (${sign}${inPercent(Math.abs(value) / base)})`;
}
