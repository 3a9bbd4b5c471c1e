/**
 * Lines for a screen as pieces of text, each with its tone: they are measured and cut before they are painted, so that
 * no code of a colour is cut off or added.
 */
import { visibleWidth } from "@mariozechner/pi-tui";

export type Tone = "title" | "good" | "warning" | "error" | "dim" | "plain";
export type Paint = (tone: Tone, text: string) => string;
/** Without a tone it is left as it is. */
export type Span = readonly [tone: Tone | undefined, text: string];
export type Line = readonly Span[];

const GRAPHEMES = new Intl.Segmenter();

/** `text`, or as much of it as fits into `width` columns with "…" behind it. */
export function cut(text: string, width: number): string {
  if (visibleWidth(text) <= width) return text;
  if (width < 1) return "";
  let kept = "";
  for (const { segment } of GRAPHEMES.segment(text)) {
    if (visibleWidth(`${kept}${segment}…`) > width) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** Columns. */
export function widthOf(line: Line): number {
  return visibleWidth(textOf(line));
}

/** Never wider than `width` columns. */
export function painted(line: Line, width: number, paint: Paint): string {
  let rest = cut(textOf(line), width);
  return line
    .map(([tone, text]) => {
      const part = rest.slice(0, text.length);
      rest = rest.slice(part.length);
      return tone === undefined || part === "" ? part : paint(tone, part);
    })
    .join("");
}

function textOf(line: Line): string {
  return line.map(([, text]) => text).join("");
}
