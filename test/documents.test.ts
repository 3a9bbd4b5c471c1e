/** README.md and docs/ say of the code what is so: messages, variables, members of JSON, schemas, dependencies, links. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { asksForStatus, findConfiguredKey, readConfiguration } from "../extensions/configuration.ts";
import { kimiCliStore } from "../extensions/credentials/stores.ts";
import { malformed } from "../extensions/credentials/token-file.ts";
import { bad, reportJson } from "../extensions/doctor/report.ts";
import { isJsonObject } from "../extensions/lib/json.ts";
import { sayProblem, sayUnavailable } from "../extensions/messages.ts";
import type { FailureCause } from "../extensions/oauth/token-endpoint.ts";
import { sessionUse } from "../extensions/quota/session-use.ts";
import { statusJson } from "../extensions/status/json.ts";
import type { Status } from "../extensions/status/lines.ts";
import { readObject, root } from "./support/hosts.ts";
import {
  anchors,
  codeBlocks,
  codesIn,
  firstColumn,
  readDocument,
  readDocuments,
  readReadme,
  relativeLinks,
  tableRows,
} from "./support/readme.ts";
import { keepsToSchema, statusSchema } from "./support/status-file.ts";

const documents = readDocuments();
const workers = readDocument("docs/workers.md");
const json = readDocument("docs/json.md");

describe("links", () => {
  test.each(documents)("of $path lead to files and headings that are there", ({ path, text }) => {
    for (const link of relativeLinks(text)) {
      const file = link.path === "" ? path : join(dirname(path), link.path);
      expect(existsSync(join(root, file)), `${file}, linked from ${path}`).toBe(true);
      if (link.anchor !== "") expect(anchors(readDocument(file)), file).toContain(link.anchor);
    }
  });

  test("of README.md lead to every document", () => {
    const linked = new Set(relativeLinks(readReadme()).map(({ path }) => path));
    for (const { path } of documents.slice(1)) expect([...linked]).toContain(path);
  });
});

describe("docs/troubleshooting.md", () => {
  const rows = firstColumn(readDocument("docs/troubleshooting.md"));
  const literals = sentences();
  const said = [...literals, ...composed()];

  test.each(rows)("names a message that is said: %s", (row) => {
    const parts = fixedParts(row);
    expect(parts).not.toEqual([]);
    for (const part of parts) expect(said, part).toSatisfy((all: string[]) => all.some(says(part)));
  });

  test.each([...literals.filter(isMessage), ...composed()])("names the message: %s", (message) => {
    expect(rows).toSatisfy((all: readonly string[]) =>
      all.some((row) => fixedParts(row).every((part) => says(part)(message))),
    );
  });
});

test("the variables in docs/configuration.md are those that are read", () => {
  const read = new Set<string>();
  const env = new Proxy<Record<string, undefined>>(
    {},
    {
      get: (_target, name) => {
        read.add(String(name));
        return undefined;
      },
    },
  );
  readConfiguration(env, "/nowhere");
  findConfiguredKey(env, "/nowhere");
  asksForStatus(env);
  const table = firstColumn(readDocument("docs/configuration.md"), "Variables");
  expect([...read].sort()).toEqual([...table].sort());
});

describe("docs/workers.md", () => {
  const shown = codeBlocks(workers)
    .filter(({ section, language }) => section === "The status file" && language === "json")
    .map(({ lines }): unknown => JSON.parse(lines.join("\n")));

  test("shows the schema that is shipped, and a file that keeps to it", () => {
    const [example, schema, ...others] = shown;
    expect(others).toEqual([]);
    expect(schema).toEqual(statusSchema);
    expect(example).toSatisfy(keepsToSchema);
    expect(Object.keys(isJsonObject(example) ? example : {}).sort()).toEqual(namesIn(statusSchema));
  });

  test("names every state and every kind of failure", () => {
    const states = new Set(tableRows(workers, "The status file").map(([state]) => codesIn(state)[0]));
    const { state } = isJsonObject(shown[1]) && isJsonObject(shown[1].properties) ? shown[1].properties : {};
    expect([...states]).toEqual(isJsonObject(state) ? state.enum : undefined);
    expect([...firstColumn(workers, "Kinds of failure")].sort()).toEqual(failureClasses().sort());
  });
});

describe("docs/json.md", () => {
  const table = (heading: string) => [...firstColumn(json, heading)].sort();

  test("names the members of /kimi usage --json as the shipped schema does", () => {
    const schema = readFileSync(join(root, "extensions/quota/report.schema.json"), "utf8");
    expect(table("`/kimi usage --json`")).toEqual(membersIn(JSON.parse(schema)).sort());
  });

  test("names the members of /kimi status --json", () => {
    const nobody: Status["sight"] = { kind: "none", reason: { kind: "no-login" }, message: "" };
    const token = { accessToken: "a", refreshToken: "r", expiresAt: 0, lifetime: 1 };
    const store = kimiCliStore("/home/somebody/.kimi");
    const account = { owner: "kimi-cli", path: "/", region: "kimi.com", id: "0", baseUrl: "" } as const;
    const status: Status = {
      versions: { extension: "2.0.0", pi: "1.6.0" },
      home: "/home/somebody",
      sight: {
        kind: "login",
        choice: { state: "use", store, token: { ...token, scope: undefined, tokenType: undefined } },
        store,
        account,
      },
      renewedAt: 0,
      figures: {
        figures: { plan: "Moderato", windows: [], wallet: undefined, parallelLimit: undefined },
        fetchedAt: 0,
      },
      hosts: { region: "kimi.com", oauthHost: "", baseUrl: "" },
      userAgent: "pi",
      model: { provider: "kimi-coder", id: "k3" },
      thinking: "high",
      last: { model: "k3", thinking: "on", maxTokens: 1, usage: undefined },
      session: sessionUse([]),
      now: 0,
    };
    const key: Status["sight"] = {
      kind: "key",
      given: "configuration",
      source: "KIMI_CODER_API_KEY",
      key: "k",
      account,
    };
    const named = [status, { ...status, sight: key }, { ...status, sight: nobody }].flatMap((one) =>
      leaves(statusJson(one)),
    );
    // A member that is an object in one of them is null in the others.
    const isWhole = (name: string) => !named.some((other) => other.startsWith(`${name}.`));
    expect(table("`/kimi status --json`")).toEqual([...new Set(named.filter(isWhole))].sort());
  });

  test("names the members of /kimi doctor --json", () => {
    const [node, runtime] = ["24.1.0", "Node 24.1.0"];
    const about = { extension: "2.0.0", pi: "1.6.0", node, runtime, system: "linux x64" };
    const groups = [{ name: "program", checks: [{ name: "pi", ...bad("too old", "update") }] }];
    expect(table("`/kimi doctor --json`")).toEqual(leaves(reportJson({ about, groups })).sort());
  });
});

test("README.md gives a reason for every dependency", () => {
  const { dependencies } = readObject(join(root, "package.json"));
  const [, development = ""] = readReadme().split("## Development\n");
  const reasons = [...development.matchAll(/^- `([\w@/.-]+)` .+\n(?: {2}.+\n)*/gm)].map(([, name]) => name);
  expect(reasons).toEqual(isJsonObject(dependencies) ? Object.keys(dependencies) : []);
});

/** All classes of failure that the status file may name, as the two files that list them are written. */
function failureClasses(): string[] {
  const named = (file: string, pattern: RegExp) =>
    [...readFileSync(join(root, "extensions", file), "utf8").matchAll(pattern)].map(([, name = ""]) => name);
  return [
    ...named("chat/errors/classify.ts", /^ {2}(\w+): "(?:show|retry|compact)",$/gm),
    ...named("worker/failure.ts", /^ {2}\| "([\w-]+)"/gm),
  ];
}

/** Of a JSON Schema, sorted. */
function namesIn(schema: unknown): string[] {
  return isJsonObject(schema) && isJsonObject(schema.properties) ? Object.keys(schema.properties).sort() : [];
}

/** `a.b` and `a[].b` for what a JSON Schema describes. */
function membersIn(schema: unknown): string[] {
  if (!isJsonObject(schema)) return [];
  if (isJsonObject(schema.items)) return membersIn(schema.items).map((name) => `[]${name}`);
  if (!isJsonObject(schema.properties)) return [""];
  return Object.entries(schema.properties).flatMap(([name, member]) =>
    membersIn(member).map((rest) => joined(name, rest)),
  );
}

/** The same for what is in a value. */
function leaves(value: unknown): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap(leaves))].map((name) => `[]${name}`);
  if (!isJsonObject(value)) return [""];
  return Object.entries(value).flatMap(([name, member]) => leaves(member).map((rest) => joined(name, rest)));
}

function joined(name: string, rest: string): string {
  return rest === "" || rest.startsWith("[]")
    ? `${name}${rest.replace(/^\[\](?=\w)/, "[].")}`
    : `${name}.${rest}`;
}

/** Every string and template of the extension, `\0` for what is filled in. */
function sentences(): string[] {
  const found: string[] = [];
  const collect = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node)) found.push(node.text);
    if (ts.isTemplateExpression(node)) {
      found.push(node.head.text + node.templateSpans.map(({ literal }) => `\0${literal.text}`).join(""));
    }
    ts.forEachChild(node, collect);
  };
  const files = readdirSync(join(root, "extensions"), { recursive: true, encoding: "utf8" });
  for (const name of files.filter((file) => file.endsWith(".ts"))) {
    const source = readFileSync(join(root, "extensions", name), "utf8");
    collect(ts.createSourceFile(name, source, ts.ScriptTarget.Latest));
  }
  return [...new Set(found)];
}

/** Sentences of several literals, as they come out. */
function composed(): string[] {
  const store = kimiCliStore("/home/somebody/.kimi");
  const found = malformed("is not a JSON object");
  const causes: readonly FailureCause[] = [
    { kind: "network", code: "ECONNRESET" },
    { kind: "status", status: 500 },
    { kind: "unreadable", status: 200 },
  ];
  const wrong = { KIMI_CODE_BASE_URL: "x", KIMI_OAUTH_HOST: "ftp://x", KIMI_CODER_REGION: "x" };
  const others = {
    KIMI_CODER_IDENTITY: "x",
    KIMI_CODER_PARALLEL: "x",
    KIMI_CODER_FOOTER: "x",
    KIMI_CODER_TOOLS: "x",
    KIMI_CODER_API_KEY: "sk key",
  };
  const refusals = Object.entries({ ...wrong, ...others, KIMI_SHARE_DIR: "\u0007" }).map(
    ([name, value]) => readConfiguration({ [name]: value }, "/home/somebody").refusal,
  );
  return [
    sayProblem({ store, found }),
    ...causes.map((cause) => sayUnavailable({ kind: "failed", store, cause })),
    ...refusals.map(String),
  ];
}

/** Shown by the login screen, or where everything is well; and the frames of sentences that are composed. */
const NO_TROUBLE =
  /code has expired; here|^Open the address|^Once you confirm|using \0 credentials|an overview;|^\0(?:;|$| \(| \0|\0;|\0$)|because \0; (?:try|send)/;

/** Whether it is a whole sentence for the user about something that went wrong, with what to do about it. */
function isMessage(text: string): boolean {
  const sentence = text.replace(/^Kimi Coder: /, "");
  const isWhole = /[^\0 ]+ .*; .*\w.*\.\s*$/s.test(sentence) || sentence !== text;
  return isWhole && !NO_TROUBLE.test(sentence);
}

/** The words of a row around its placeholders ("…", "(FIELD)"), without the punctuation next to them. */
function fixedParts(row: string): string[] {
  return row
    .split("…")
    .map((part) => part.replace(/\([A-Z]*\)|\($|^\)/g, "").replace(/^[\s;,.]+|[\s;,.]+$/g, ""))
    .filter((part) => part !== "");
}

/** A sentence says `part` if it has its words in order. A word may be a filled-in value; most of the text must not be. */
function says(part: string): (sentence: string) => boolean {
  const pattern = new RegExp(
    part
      .split(/([\w./-]+)/)
      .map((piece, index) => (index % 2 === 1 ? `(?:${escapeRegExp(piece)}|\0)` : escapeRegExp(piece)))
      .join(""),
    "g",
  );
  return (sentence) =>
    [...sentence.matchAll(pattern)].some(([found]) => found.replaceAll("\0", "").length > part.length / 2);
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
