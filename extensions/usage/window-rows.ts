/** The windows of the plan as lines: all in the same of three arrangements, the widest that everything fits into. */
import { visibleWidth } from "@mariozechner/pi-tui";
import { sayTime } from "../errors/waiting-time.ts";
import { bindingWindow, usedPercentAt, wasReset } from "./figures.ts";
import type { KeptFigures } from "./kept.ts";
import { emptyAt } from "./pace.ts";
import { cut, type Line, type Span, type Tone, widthOf } from "./spans.ts";
import type { QuotaWindow } from "./windows.ts";
import { sayDuration, sayPercent } from "./words.ts";

export const MARK = "▸";

/** Columns of a bar, at least and at most. */
const SHORTEST_BAR = 8;
const LONGEST_BAR = 40;
/** Columns of a line beside label, bar and reset: the mark, the percentage, and what is between them. */
const BETWEEN = 2 + 2 + 1 + 10 + 2;
/** Columns left for the reset, so that the bars do not change with the time left. */
const USUAL_RESET = 38;
/** Of a name that does not fit, so many columns are left at least. */
const SHORTEST_LABEL = 12;

interface Row {
  readonly mark: Span;
  readonly label: string;
  readonly labelTone: Tone;
  readonly used: number;
  readonly tone: Tone;
  readonly percent: Span;
  readonly reset: Line;
  readonly pace: Line;
}

/** `now` in ms; `width` in columns. */
export function windowRows(kept: KeptFigures, now: number, width: number): readonly Line[] {
  const { figures, fetchedAt } = kept;
  const binding = bindingWindow(figures, now, fetchedAt);
  const rows = figures.windows.map((window) => rowOf(window, window === binding, fetchedAt, now));
  const most = (columns: (row: Row) => number) => Math.max(0, ...rows.map(columns));
  const labels = most(({ label }) => visibleWidth(label));
  const resets = Math.max(
    USUAL_RESET,
    most(({ reset }) => widthOf(reset)),
  );
  const behind = most(({ reset, pace }) => widthOf([...reset, ...gap(pace, 2), ...pace]));
  if (BETWEEN + labels + LONGEST_BAR + behind <= width)
    return rows.map((row) => [...oneLine(row, labels, LONGEST_BAR), ...gap(row.pace, 2), ...row.pace]);

  const room = width - BETWEEN - SHORTEST_BAR - resets;
  if (room < Math.min(labels, SHORTEST_LABEL)) return rows.flatMap((row) => severalLines(row, width));
  const shown = Math.min(labels, room);
  const columns = Math.min(LONGEST_BAR, width - BETWEEN - shown - resets);
  return rows.flatMap((row) => {
    const line = oneLine(row, shown, columns);
    return row.pace.length === 0 ? [line] : [line, [...gap(row.pace, 4 + shown), ...row.pace]];
  });
}

function rowOf(window: QuotaWindow, binding: boolean, fetchedAt: number, now: number): Row {
  const used = usedPercentAt(window, now, fetchedAt);
  const tone = toneOf(used);
  const reset = sayReset(window, fetchedAt, now);
  const pace = sayPace(used, emptyAt(window, fetchedAt, now), now);
  return {
    mark: binding ? [tone, MARK] : [undefined, " "],
    label: window.label,
    labelTone: binding ? "title" : "plain",
    used,
    tone,
    percent: [tone, `${sayPercent(used).padStart(3)} % used`],
    reset: reset === undefined ? [] : [[undefined, reset]],
    pace: pace === undefined ? [] : [["warning", pace]],
  };
}

/** The label takes `labels` columns, the bar `columns`. */
function oneLine(row: Row, labels: number, columns: number): Line {
  const label = cut(row.label, labels);
  const padding = " ".repeat(labels - visibleWidth(label));
  return [
    row.mark,
    [undefined, " "],
    [row.labelTone, label],
    [undefined, `${padding}  `],
    ...bar(row, columns),
    [undefined, " "],
    row.percent,
    ...gap(row.reset, 2),
    ...row.reset,
  ];
}

function severalLines(row: Row, width: number): readonly Line[] {
  const room = Math.max(SHORTEST_BAR, width - 2);
  const percent = widthOf([row.percent]);
  const label = cut(row.label, Math.max(1, room - percent - 1));
  const between = Math.max(1, room - visibleWidth(label) - percent);
  return [
    [row.mark, [undefined, " "], [row.labelTone, label], [undefined, " ".repeat(between)], row.percent],
    [[undefined, "  "], ...bar(row, Math.min(room, LONGEST_BAR))],
    ...[row.reset, row.pace]
      .filter((said) => said.length > 0)
      .map((said): Line => [[undefined, "  "], ...said]),
  ];
}

/** What stands before `said`, where anything is said. */
function gap(said: Line, columns: number): Line {
  return said.length === 0 ? [] : [[undefined, " ".repeat(columns)]];
}

function bar({ used, tone }: Row, columns: number): Line {
  const filled = used <= 0 ? 0 : Math.min(columns, Math.max(1, Math.round((used / 100) * columns)));
  return [
    [tone, "█".repeat(filled)],
    ["dim", "░".repeat(columns - filled)],
  ];
}

function toneOf(used: number): Tone {
  if (used >= 95) return "error";
  return used >= 80 ? "warning" : "good";
}

function sayReset(window: QuotaWindow, fetchedAt: number, now: number): string | undefined {
  const { resetsAt } = window;
  if (resetsAt === undefined) return undefined;
  if (wasReset(window, now, fetchedAt)) return "was reset since";
  return resetsAt <= now
    ? "resets soon"
    : `resets ${sayTime(resetsAt, new Date(now))} (in ${sayDuration(resetsAt - now)})`;
}

/** `at`: when it will be empty, ms. */
function sayPace(used: number, at: number | undefined, now: number): string | undefined {
  if (used >= 100) return "used up";
  if (at === undefined) return undefined;
  return at <= now ? "at this rate empty by now" : `at this rate empty in ${sayDuration(at - now)}`;
}
