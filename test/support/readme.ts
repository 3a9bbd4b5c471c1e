/** README.md as a test reads it: its code blocks and its tables. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./hosts.ts";

export interface CodeBlock {
  /** The second-level heading it stands under; empty above the first. */
  readonly section: string;
  /** What stands behind the fence. */
  readonly language: string;
  /** Without the fence's indentation and without empty lines. */
  readonly lines: readonly string[];
}

export function readReadme(): string {
  return readFileSync(join(root, "README.md"), "utf8");
}

/** All fenced blocks in order. Throws on one that does not end. */
export function codeBlocks(markdown: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let section = "";
  let open: { readonly indent: number; readonly language: string; readonly lines: string[] } | undefined;
  for (const line of markdown.split("\n")) {
    const fence = /^( *)```(.*)$/.exec(line);
    if (open === undefined) {
      section = /^## (.+)$/.exec(line)?.[1] ?? section;
      if (fence) open = { indent: fence[1]?.length ?? 0, language: fence[2] ?? "", lines: [] };
    } else if (fence) {
      blocks.push({ section, language: open.language, lines: open.lines });
      open = undefined;
    } else if (line.trim() !== "") {
      open.lines.push(line.slice(open.indent));
    }
  }
  if (open !== undefined) throw new Error("README.md ends inside a code block");
  return blocks;
}

/** What is set as code in the first column of the section's first table, row by row, without the head. */
export function firstColumn(markdown: string, section: string): string[][] {
  const text = markdown.split(/^## /m).find((part) => part.startsWith(`${section}\n`)) ?? "";
  const table = /(?:^\|.*\n)+/m.exec(text)?.[0] ?? "";
  return table
    .trimEnd()
    .split("\n")
    .slice(2)
    .map((row) => [...(row.split("|")[1] ?? "").matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? ""));
}
