/** README.md and docs/ as a test reads them: their code blocks, tables and links. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./hosts.ts";

export interface Document {
  /** From the repository's root. */
  readonly path: string;
  readonly text: string;
}

export interface CodeBlock {
  /** The second-level heading it stands under; empty above the first. */
  readonly section: string;
  /** What stands behind the fence. */
  readonly language: string;
  /** Without the fence's indentation and without empty lines. */
  readonly lines: readonly string[];
}

export function readReadme(): string {
  return readDocument("README.md");
}

/** `path` from the repository's root. */
export function readDocument(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** README.md and all of docs/. */
export function readDocuments(): readonly Document[] {
  const docs = readdirSync(join(root, "docs"))
    .sort()
    .map((name) => `docs/${name}`);
  return ["README.md", ...docs].map((path) => ({ path, text: readDocument(path) }));
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
  if (open !== undefined) throw new Error("a document ends inside a code block");
  return blocks;
}

/** The cells of all tables under the heading of whatever level, row by row, without the heads. */
export function tableRows(markdown: string, heading?: string): readonly (readonly string[])[] {
  const text =
    heading === undefined
      ? markdown
      : (markdown.split(/^#+ /m).find((part) => part.startsWith(`${heading}\n`)) ?? "");
  return [...text.matchAll(/(?:^\|.*\n)+/gm)].flatMap(([table]) =>
    table
      .trimEnd()
      .split("\n")
      .slice(2)
      .map((row) => row.slice(1, -1).split(/(?<!\\)\|/)),
  );
}

/** What is set as code in a cell. */
export function codesIn(cell: string | undefined): readonly string[] {
  return [...(cell ?? "").matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? "");
}

/** What is set as code in the first column of the tables under the heading. */
export function firstColumn(markdown: string, heading?: string): readonly string[] {
  return tableRows(markdown, heading).flatMap(([cell]) => codesIn(cell));
}

/** Where the links lead that begin with no scheme: a path and an anchor, either of which may be empty. */
export function relativeLinks(
  markdown: string,
): readonly { readonly path: string; readonly anchor: string }[] {
  const targets = [...markdown.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target ?? "");
  return targets
    .filter((target) => !/^\w+:/.test(target))
    .map((target) => {
      const [path = "", anchor = ""] = target.split("#");
      return { path, anchor };
    });
}

/** The anchors of all headings, as GitHub and npm make them. */
export function anchors(markdown: string): readonly string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}
