/** The import lines show the architecture: dependencies point one way, and what loads slowly is loaded when it is used. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, test } from "vitest";
import { root } from "./support/hosts.ts";

const extensions = join(root, "extensions");
const modules = readdirSync(extensions, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => ({ name, text: readFileSync(join(extensions, name), "utf8") }));

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

const imports: Import[] = modules.flatMap(({ name, text }) =>
  [...text.matchAll(/^(import|export)( type)?\s[^;]*?from "([^"]+)";|\bimport\("([^"]+)"\)/gm)].map(
    (match) => {
      const to = match[3] ?? match[4];
      return {
        from: name,
        to: to?.startsWith(".") ? relative(extensions, join(extensions, dirname(name), to)) : `${to}`,
        typeOnly: match[2] !== undefined,
      };
    },
  ),
);

/** What the modules of a folder may import besides one another and Node's own. */
const allowed: Record<string, RegExp> = {
  "oauth/": /^$/,
  "request/": /^$/,
  "credentials/": /^(?:oauth\/|region\.ts$)/,
};

test("there is something to look at", () => {
  expect(modules.length).toBeGreaterThan(30);
  expect(imports.length).toBeGreaterThan(100);
});

test.each(Object.entries(allowed))("%s imports nothing from above", (folder, others) => {
  const inside = imports.filter(({ from }) => from.startsWith(folder));
  expect(inside.length).toBeGreaterThan(0);
  const strangers = inside.filter(
    ({ to, typeOnly }) =>
      !to.startsWith("node:") &&
      !to.startsWith(folder) &&
      !others.test(to) &&
      !(typeOnly && to === "proper-lockfile"),
  );
  expect(strangers).toEqual([]);
});

test("only index.ts is imported by nobody, and there is no circle", () => {
  const importedBy = new Set(imports.map(({ to }) => to));
  expect(modules.map(({ name }) => name).filter((name) => !importedBy.has(name))).toEqual(["index.ts"]);
  const seen = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    expect(path, "a circle of imports").not.toContain(name);
    if (seen.has(name)) return;
    for (const { from, to, typeOnly } of imports) {
      if (from === name && !typeOnly && to.endsWith(".ts")) visit(to, [...path, name]);
    }
    seen.add(name);
  };
  visit("index.ts", []);
});

test("libraries are loaded when they are used, by require", () => {
  const libraries = imports.filter(
    ({ to, typeOnly }) =>
      /^[a-z@]/.test(to) &&
      !to.startsWith("node:") &&
      !to.includes("/credentials/") &&
      !to.endsWith(".ts") &&
      !to.startsWith("@mariozechner/") &&
      !typeOnly,
  );
  expect(libraries).toEqual([]);
});

test("tokens cannot get into the environment: nobody writes to it", () => {
  for (const { name, text } of modules)
    expect(text, name).not.toMatch(/process\.env(\.\w+|\[[^\]]+\])\s*=[^=]/);
});

test("modules are small", () => {
  const long = modules.filter(({ text }) => text.split("\n").length > 250).map(({ name }) => name);
  expect(long).toEqual([]);
});
