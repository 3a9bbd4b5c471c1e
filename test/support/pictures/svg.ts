/** A screen as SVG: sharp at any size, text as text, blocks and rules as shapes so that no font leaves gaps. */
import type { Row, Run, Style } from "./ansi.ts";
import { hasShape, type Shape, shapeOf } from "./shapes.ts";

export interface PictureOptions {
  /** Columns of the terminal. */
  readonly width: number;
  /** What somebody who does not see it is told. */
  readonly title: string;
}

/** Size of a character, and what surrounds the screen, px. */
const CELL = { width: 9, height: 20 };
const MARGIN = 18;
const FONT_SIZE = 15;
const BASELINE = 14.5;
/** DejaVu first, because images/*.png are made with it. */
const FONTS = "'DejaVu Sans Mono','SFMono-Regular',Menlo,Consolas,'Liberation Mono','Courier New',monospace";
const FOREGROUND = "#d4d7dc";
const BACKGROUND = "#17191e";

export function renderSvg(rows: readonly Row[], { width, title }: PictureOptions): string {
  const size = {
    width: width * CELL.width + 2 * MARGIN,
    height: rows.length * CELL.height + 2 * MARGIN,
  };
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}" viewBox="0 0 ${size.width} ${size.height}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    `<rect width="100%" height="100%" rx="10" fill="${BACKGROUND}"/>`,
    `<g transform="translate(${MARGIN} ${MARGIN})" font-family="${FONTS}" font-size="${FONT_SIZE}" fill="${FOREGROUND}">`,
    ...rows.flatMap(renderRow),
    "</g>",
    "</svg>",
  ].join("\n")}\n`;
}

function renderRow(row: Row, index: number): string[] {
  const y = index * CELL.height;
  const runs = row.map(({ style, ...run }) => ({ ...run, style: effective(style) }));
  const grounds = runs.flatMap(({ column, text, style }) =>
    style.background === undefined
      ? []
      : [box(column, y, Array.from(text).length, CELL.height, style.background)],
  );
  const shapes = runs.flatMap((run) => renderShapes(run, y));
  const words = runs.flatMap(renderWords);
  const text = words.length > 0 ? [`<text y="${y + BASELINE}">${words.join("")}</text>`] : [];
  return [...grounds, ...shapes, ...text];
}

/** Colours as they are seen. */
function effective(style: Style): Style {
  if (!style.inverse) return style;
  return { ...style, color: style.background ?? BACKGROUND, background: style.color ?? FOREGROUND };
}

function renderShapes({ column, text, style }: Run, y: number): string[] {
  const shapes = Array.from(text).flatMap(
    (character, index) => shapeOf(character, CELL, (column + index) * CELL.width, y) ?? [],
  );
  const color = style.color ?? FOREGROUND;
  const draw = (wanted: Shape["kind"], paint: string) => {
    const path = shapes.flatMap(({ kind, path }) => (kind === wanted ? [path] : [])).join("");
    return path === "" ? [] : [`<path d="${path}" ${paint}${opacity(style)}/>`];
  };
  return [
    ...draw("fill", `fill="${color}" shape-rendering="crispEdges"`),
    ...draw("shade", `fill="${color}" fill-opacity="0.25" shape-rendering="crispEdges"`),
    ...draw("stroke", `fill="none" stroke="${color}" stroke-width="1.2"`),
  ];
}

/** Pieces without shapes and without long gaps; each is stretched to its columns, whatever the font. */
function renderWords({ column, text, style }: Run): string[] {
  const characters = Array.from(text).map((character) => (hasShape(character) ? " " : character));
  const pieces = [...characters.join("").matchAll(/\S+(?: \S+)*/gu)];
  return pieces.map((piece) => {
    const start = column + Array.from(characters.join("").slice(0, piece.index)).length;
    const [word] = piece;
    const length = Array.from(word).length * CELL.width;
    return `<tspan x="${start * CELL.width}" textLength="${length}" lengthAdjust="spacingAndGlyphs"${attributes(style)}>${escapeXml(word)}</tspan>`;
  });
}

function attributes(style: Style): string {
  const decoration = [style.underline ? "underline" : "", style.strike ? "line-through" : ""]
    .join(" ")
    .trim();
  return [
    style.color ? ` fill="${style.color}"` : "",
    style.bold ? ' font-weight="bold"' : "",
    style.italic ? ' font-style="italic"' : "",
    decoration ? ` text-decoration="${decoration}"` : "",
    opacity(style),
  ].join("");
}

function opacity({ dim }: Style): string {
  return dim ? ' opacity="0.6"' : "";
}

function box(column: number, y: number, columns: number, height: number, fill: string): string {
  return `<rect x="${column * CELL.width}" y="${y}" width="${columns * CELL.width}" height="${height}" fill="${fill}" shape-rendering="crispEdges"/>`;
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** The text of a picture made by this file, line by line, without empty lines. */
export function textOf(svg: string): string {
  return [...svg.matchAll(/<text [^>]*>(.*)<\/text>/g)]
    .map(([, line = ""]) =>
      line
        .replace(/<\/tspan>/g, " ")
        .replace(/<[^>]*>/g, "")
        .replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)))
        .trim(),
    )
    .join("\n");
}
