/** Characters that are drawn rather than written: blocks and rules, which must meet their neighbours. */

interface Cell {
  readonly width: number;
  readonly height: number;
}

export interface Shape {
  readonly kind: "fill" | "shade" | "stroke";
  readonly path: string;
}

/** From where to where a block fills the height of its cell. */
const BLOCKS: Readonly<Record<string, readonly [from: number, to: number]>> = {
  "█": [0, 1],
  "░": [0, 1],
  "▀": [0, 0.5],
  "▄": [0.5, 1],
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
    const [from, to] = block.map((part) => top + part * height);
    return {
      kind: character === "░" ? "shade" : "fill",
      path: `M${left} ${from}H${left + width}V${to}H${left}Z`,
    };
  }
  const [x, y, right, bottom] = [left + width / 2, top + height / 2, left + width, top + height];
  const paths: Readonly<Record<string, string>> = {
    "─": `M${left} ${y}H${right}`,
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
