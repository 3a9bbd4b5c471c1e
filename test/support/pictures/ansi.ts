/** A captured screen (`tmux capture-pane -e -p`) as runs of text in one style. */

export interface Style {
  /** `#rrggbb`; undefined = the terminal's own. */
  readonly color?: string;
  readonly background?: string;
  readonly bold?: boolean;
  readonly dim?: boolean;
  readonly italic?: boolean;
  readonly underline?: boolean;
  readonly strike?: boolean;
  readonly inverse?: boolean;
}

export interface Run {
  /** The first of its columns, from 0; each character takes one. */
  readonly column: number;
  readonly text: string;
  readonly style: Style;
}

export type Row = readonly Run[];

/** Every line of the capture; a style goes on over line ends, as tmux writes it. */
export function parseScreen(captured: string): readonly Row[] {
  let style: Style = {};
  return captured
    .replace(/\n$/, "")
    .split("\n")
    .map((line) => {
      const runs: Run[] = [];
      let column = 0;
      // Links and character sets have nothing to do with how it looks.
      const shown = line.replace(/\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[\u000e\u000f]/g, "");
      for (const part of shown.split(/(\u001b\[[\d;:]*m)/)) {
        const codes = /^\u001b\[([\d;:]*)m$/.exec(part)?.[1];
        if (codes !== undefined) {
          style = apply(style, codes.split(/[;:]/).map(Number));
        } else if (part !== "") {
          runs.push({ column, text: part, style });
          column += Array.from(part).length;
        }
      }
      return runs;
    });
}

/** The text alone, without spaces at the ends of its lines. */
export function plainText(rows: readonly Row[]): string {
  return rows
    .map((row) =>
      row
        .map(({ text }) => text)
        .join("")
        .trimEnd(),
    )
    .join("\n");
}

const SWITCHES: Readonly<Record<number, Style>> = {
  1: { bold: true },
  2: { dim: true },
  3: { italic: true },
  4: { underline: true },
  7: { inverse: true },
  9: { strike: true },
  22: { bold: false, dim: false },
  23: { italic: false },
  24: { underline: false },
  27: { inverse: false },
  29: { strike: false },
};

function apply(before: Style, codes: readonly number[]): Style {
  let style = before;
  for (let at = 0; at < codes.length; at++) {
    const code = codes[at] ?? 0;
    if (code === 0) style = {};
    else if (SWITCHES[code]) style = { ...style, ...SWITCHES[code] };
    else if (code === 38 || code === 48) {
      const color = extended(codes.slice(at + 1));
      style = { ...style, ...(code === 38 ? { color } : { background: color }) };
      at += codes[at + 1] === 2 ? 4 : 2;
    } else if (code === 39) style = without(style, "color");
    else if (code === 49) style = without(style, "background");
    else if (code >= 30 && code <= 37) style = { ...style, color: indexed(code - 30) };
    else if (code >= 90 && code <= 97) style = { ...style, color: indexed(code - 90 + 8) };
    else if (code >= 40 && code <= 47) style = { ...style, background: indexed(code - 40) };
    else if (code >= 100 && code <= 107) style = { ...style, background: indexed(code - 100 + 8) };
  }
  return style;
}

function without(style: Style, key: "color" | "background"): Style {
  const { [key]: _gone, ...rest } = style;
  return rest;
}

function extended([kind, ...values]: readonly number[]): string {
  const [first = 0, second = 0, third = 0] = values;
  return kind === 2 ? hex(first, second, third) : indexed(first);
}

const BASIC = [
  ...["#1d1f21", "#cc6666", "#b5bd68", "#f0c674", "#81a2be", "#b294bb", "#8abeb7", "#c5c8c6"],
  ...["#666666", "#d54e53", "#b9ca4a", "#e7c547", "#7aa6da", "#c397d8", "#70c0b1", "#eaeaea"],
];

/** xterm's 256 colours. */
function indexed(index: number): string {
  const basic = BASIC[index];
  if (basic !== undefined) return basic;
  if (index >= 232) {
    const gray = 8 + (index - 232) * 10;
    return hex(gray, gray, gray);
  }
  const level = (value: number) => (value === 0 ? 0 : 55 + value * 40);
  const cube = index - 16;
  return hex(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6));
}

function hex(...values: readonly number[]): string {
  return `#${values.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}
