/** What Kimi found, as the model gets it: text without anything that steers a terminal, bounded as pi bounds its tools. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_MAX_BYTES, formatSize } from "@mariozechner/pi-coding-agent";
import type { Tool } from "../configuration.ts";
import { isJsonObject, parseJson, systemCode } from "../lib/json.ts";
import { firstBytes, oneLine } from "../lib/safe-text.ts";

export interface Found {
  readonly text: string;
  /** One line for the screen. */
  readonly summary: string;
}

/** Sites that a summary names. */
const MOST_SITES = 4;

/** The answer of `POST /search`; undefined for what is none. Never throws. */
export function readSearch(json: string): Found | undefined {
  const answer = parseJson(json);
  const found = isJsonObject(answer) ? answer.search_results : undefined;
  if (!Array.isArray(found)) return undefined;
  const results = found.flatMap(readResult);
  if (results.length === 0) return { text: "Kimi found nothing; try other words.", summary: "nothing found" };
  const sites = [...new Set(results.map(({ site }) => site))];
  const shown = sites.slice(0, MOST_SITES).join(", ");
  return {
    text: results.map(({ lines }, index) => `${index + 1}. ${lines.join("\n   ")}`).join("\n\n"),
    summary: `${results.length === 1 ? "1 result" : `${results.length} results`}: ${shown}${sites.length > MOST_SITES ? ", …" : ""}`,
  };
}

function readResult(
  result: unknown,
): readonly { readonly site: string; readonly lines: readonly string[] }[] {
  if (!isJsonObject(result)) return [];
  // Of any length: all answers together are bounded.
  const line = (value: unknown) => (typeof value === "string" ? oneLine(value, Number.MAX_SAFE_INTEGER) : "");
  const url = line(result.url);
  if (!/^https?:\/\/\S+$/i.test(url) || !URL.canParse(url)) return [];
  const host = new URL(url).hostname.replace(/^www\./, "");
  const from = [line(result.date), line(result.site_name)].filter((part) => part !== "").join(" · ");
  const lines = [line(result.title) || host, url, from, line(result.snippet)];
  return [{ site: host, lines: lines.filter((part) => part !== "") }];
}

/** The answer of `POST /fetch`: a page as Markdown. */
export function readPage(markdown: string): Found {
  const text = withoutEscapes(markdown).trim();
  if (text === "") return { text: "Kimi found no text on this page.", summary: "no text" };
  const lines = text.split("\n").length;
  return { text, summary: `${sizeOf(text)}, ${lines === 1 ? "1 line" : `${lines} lines`}` };
}

/**
 * Many lines without control, format, private and half characters. Colours go as a whole; of other escapes what is
 * left without its control characters is text. Those that end at the next one would take half a page with them.
 */
function withoutEscapes(text: string): string {
  return text
    .replace(/\r\n?/g, "\n")
    .replace(/(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]/g, "")
    .replace(/[^\P{C}\n\t\u200c\u200d]/gu, "");
}

/** The beginning of a long text and a note; the whole is kept in a file of `folder`. Never throws. */
export async function bounded(tool: Tool, { text, summary }: Found, folder = tmpdir()): Promise<Found> {
  if (Buffer.byteLength(text) <= DEFAULT_MAX_BYTES) return { text, summary };
  const beginning = firstBytes(text, DEFAULT_MAX_BYTES);
  const shown = `Showing the first ${sizeOf(beginning)} of ${sizeOf(text)}.`;
  const path = join(folder, `kimi-${tool}-${randomBytes(8).toString("hex")}.md`);
  try {
    // Only we may read it, and nothing that stands there already is followed or replaced.
    await writeFile(path, text, { flag: "wx", mode: 0o600 });
  } catch (error) {
    const note = `${shown} The rest could not be kept (${systemCode(error)}).`;
    return { text: `${beginning}\n\n[${note}]`, summary };
  }
  return {
    text: `${beginning}\n\n[${shown} Full text: ${path}]`,
    summary: `${summary}; all of it in ${path}`,
  };
}

function sizeOf(text: string): string {
  return formatSize(Buffer.byteLength(text));
}
