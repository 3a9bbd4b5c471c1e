/** Characters that are drawn rather than written: blocks and rules, which must meet their neighbours. */

interface Cell {
  readonly width: number;
  readonly height: number;
}

export interface Shape {
  readonly kind: "fill" | "shade" | "stroke";
  readonly path: string;
}

/** The part of a cell that a block fills, in eighths: left, top, right, bottom. */
const BLOCKS: Readonly<Record<string, readonly [number, number, number, number]>> = {
  "█": [0, 0, 8, 8],
  "░": [0, 0, 8, 8],
  "▀": [0, 0, 8, 4],
  "▄": [0, 4, 8, 8],
  "▌": [0, 0, 4, 8],
  "▐": [4, 0, 8, 8],
  "▏": [0, 0, 1, 8],
  "▎": [0, 0, 2, 8],
  "▍": [0, 0, 3, 8],
  "▋": [0, 0, 5, 8],
  "▊": [0, 0, 6, 8],
  "▉": [0, 0, 7, 8],
};

/** Where the cell's left upper corner is at (`left`, `top`); undefined for what a font writes. */
export function shapeOf(
  character: string,
  { width, height }: Cell,
  left: number,
  top: number,
): Shape | undefined {
  const block = BLOCKS[character];
  if (block) {
    const [x1, y1, x2, y2] = block;
    const x = (eighths: number) => left + (eighths * width) / 8;
    const y = (eighths: number) => top + (eighths * height) / 8;
    return {
      kind: character === "░" ? "shade" : "fill",
      path: `M${x(x1)} ${y(y1)}H${x(x2)}V${y(y2)}H${x(x1)}Z`,
    };
  }
  const [x, y, right, bottom] = [left + width / 2, top + height / 2, left + width, top + height];
  const paths: Readonly<Record<string, string>> = {
    "─": `M${left} ${y}H${right}`,
    "━": `M${left} ${y}H${right}`,
    "│": `M${x} ${top}V${bottom}`,
    "╭": `M${right} ${y}Q${x} ${y} ${x} ${bottom}`,
    "╮": `M${left} ${y}Q${x} ${y} ${x} ${bottom}`,
    "╰": `M${right} ${y}Q${x} ${y} ${x} ${top}`,
    "╯": `M${left} ${y}Q${x} ${y} ${x} ${top}`,
    "┌": `M${right} ${y}H${x}V${bottom}`,
    "┐": `M${left} ${y}H${x}V${bottom}`,
    "└": `M${right} ${y}H${x}V${top}`,
    "┘": `M${left} ${y}H${x}V${top}`,
  };
  const path = paths[character];
  return path === undefined ? undefined : { kind: "stroke", path };
}

export function hasShape(character: string): boolean {
  return shapeOf(character, { width: 1, height: 1 }, 0, 0) !== undefined;
}
