/** How many modules are loaded when, by their import lines: each costs half a millisecond or more. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { root } from "./support/hosts.ts";

/** What is loaded with these modules: whatever they import that is more than a type, and not only when it is used. */
function loadedWith(...entries: readonly string[]): readonly string[] {
  const loaded = new Set<string>();
  const load = (name: string): void => {
    if (loaded.has(name)) return;
    loaded.add(name);
    const text = readFileSync(join(root, "extensions", name), "utf8");
    for (const [line, to = ""] of text.matchAll(/^(?:import|export)\s[^;]*?from "(\.[^"]+\.ts)";/gm)) {
      const isTypes = /^\w+ (?:type\b|\{(?:\s*type \w+(?: as \w+)?,?)+\s*\})/.test(line);
      if (!isTypes) load(join(dirname(name), to));
    }
  };
  for (const entry of entries) load(entry);
  return [...loaded];
}

test("no more modules are loaded at pi's start, and until the first request with a valid token, than these", () => {
  const start = loadedWith("index.ts");
  const request = loadedWith("index.ts", "runtime.ts");
  expect(start).toContain("lib/lazy.ts");
  expect(start.length, start.join(" ")).toBeLessThanOrEqual(12);
  expect(request.length, request.join(" ")).toBeLessThanOrEqual(36);
});
