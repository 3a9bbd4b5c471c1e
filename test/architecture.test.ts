/** The import lines show the architecture: rooms depend on one another in one way, and nothing goes in circles. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, test } from "vitest";
import { root } from "./support/hosts.ts";

/**
 * Every room (a folder, or a module beside index.ts), lowest first, and the rooms that it imports from; types count. A
 * room imports only from rooms above it in this list.
 */
const rooms: Readonly<Record<string, string>> = {
  lib: "",
  "region.ts": "",
  "configuration.ts": "lib region.ts",
  "reply.ts": "configuration.ts lib",
  "identity.ts": "configuration.ts lib",
  oauth: "lib",
  credentials: "lib oauth region.ts",
  queue: "lib",
  "messages.ts": "credentials lib oauth queue",
  "chat/errors": "lib queue region.ts",
  "screen.ts": "chat/errors configuration.ts credentials",
  "caller.ts": "configuration.ts credentials lib messages.ts region.ts screen.ts",
  "chat/payload": "lib",
  chat: "caller.ts chat/errors chat/payload identity.ts lib queue screen.ts",
  models: "caller.ts chat/payload configuration.ts lib region.ts",
  quota: "caller.ts configuration.ts lib region.ts reply.ts screen.ts",
  login: "configuration.ts credentials lib messages.ts oauth region.ts",
  worker: "chat/errors configuration.ts lib quota screen.ts",
  tools: "caller.ts chat chat/errors configuration.ts identity.ts lib reply.ts",
  "provider.ts": "chat configuration.ts credentials lib login models screen.ts",
  "runtime.ts":
    "caller.ts chat configuration.ts credentials identity.ts lib login messages.ts models oauth provider.ts queue quota region.ts screen.ts",
  "session.ts": "configuration.ts lib messages.ts quota runtime.ts screen.ts",
  status:
    "caller.ts chat configuration.ts credentials identity.ts lib messages.ts quota region.ts reply.ts runtime.ts screen.ts",
  doctor: "caller.ts configuration.ts credentials identity.ts lib oauth quota region.ts reply.ts runtime.ts",
  "commands.ts":
    "configuration.ts doctor identity.ts lib login quota reply.ts runtime.ts screen.ts status tools",
  "index.ts":
    "commands.ts configuration.ts lib models provider.ts runtime.ts screen.ts session.ts tools worker",
};

const extensions = join(root, "extensions");
const modules = readdirSync(extensions, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => ({ name, text: readFileSync(join(extensions, name), "utf8") }));

interface Import {
  readonly from: string;
  /** A module of ours, or a package's name. */
  readonly to: string;
}

const IMPORT =
  /^(?:import|export)\s[^;]*?from "([^"]+)";|\bimport\("([^"]+)"\)|\bcreateRequire\([^)]*\)\("([^"]+)"\)/gm;

const imports: Import[] = modules.flatMap(({ name, text }) =>
  [...text.matchAll(IMPORT)].map(([, first, second, third]) => {
    const to = String(first ?? second ?? third);
    return {
      from: name,
      to: to.startsWith(".") ? relative(extensions, join(extensions, dirname(name), to)) : to,
    };
  }),
);
const ours = imports.filter(({ to }) => to.endsWith(".ts"));

function roomOf(module: string): string {
  const folder = dirname(module);
  return folder === "." ? module : folder;
}

test("every room imports from the rooms that are named for it, and from no other", () => {
  const found = Object.fromEntries(
    [...new Set(modules.map(({ name }) => roomOf(name)))].map((room) => {
      const others = ours.filter(({ from, to }) => roomOf(from) === room && roomOf(to) !== room);
      return [room, [...new Set(others.map(({ to }) => roomOf(to)))].sort().join(" ")];
    }),
  );
  expect(found).toEqual(rooms);
});

test("rooms import from rooms that are listed above them", () => {
  const order = Object.keys(rooms);
  const backwards = Object.entries(rooms).flatMap(([room, others]) =>
    others
      .split(" ")
      .filter((other) => order.indexOf(other) > order.indexOf(room))
      .map((other) => `${room} → ${other}`),
  );
  expect(backwards).toEqual([]);
});

test("no modules import one another in a circle, not even for types", () => {
  const seen = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    expect(path, "a circle of imports").not.toContain(name);
    if (seen.has(name)) return;
    for (const { from, to } of ours) if (from === name) visit(to, [...path, name]);
    seen.add(name);
  };
  for (const { name } of modules) visit(name, []);
});

test("only index.ts is imported by nobody", () => {
  const imported = new Set(ours.map(({ to }) => to));
  expect(modules.map(({ name }) => name).filter((name) => !imported.has(name))).toEqual(["index.ts"]);
});

test("a library is imported by the one module that needs it", () => {
  const libraries = imports.filter(({ to }) => !/^(?:node:|@mariozechner\/)|\.(?:ts|json)$/.test(to));
  expect([...new Set(libraries.map(({ from, to }) => `${from}: ${to}`))].sort()).toEqual([
    "credentials/directory-lock.ts: proper-lockfile",
    "login/half-blocks.ts: uqr",
  ]);
});

test("tokens cannot get into the environment: nobody writes to it", () => {
  for (const { name, text } of modules)
    expect(text, name).not.toMatch(/process\.env(\.\w+|\[[^\]]+\])\s*=[^=]/);
});
