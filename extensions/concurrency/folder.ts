/** The folder in which the requests of an account meet: empty files that are there or not. All calls are synchronous. */
import { lstatSync, mkdirSync, readdirSync, unlinkSync, utimesSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemCode } from "../credentials/file.ts";
import type { Operation } from "./tickets.ts";

export interface Folder {
  /** Throws what the system says, except that a file to be removed, or made, may be so already. */
  readonly perform: (operation: Operation) => readonly string[];
  /** Shows that the file's owner lives; makes it anew where somebody has removed it. Never throws. */
  readonly touch: (name: string) => void;
  /** When it was made or last touched, ms since the epoch. Never throws. */
  readonly touchedAt: (name: string) => number | undefined;
  /** Tells of changes, as far as the system does; returns what ends it. Never throws. */
  readonly watch: (changed: () => void) => () => void;
}

export function createFolder(path: string): Folder {
  return {
    perform(operation) {
      if (operation.operation === "list") return readdirSync(path);
      const file = join(path, operation.name);
      if (operation.operation === "remove") {
        unless("ENOENT", () => unlinkSync(file));
        return [];
      }
      const make = () => unless("EEXIST", () => writeFileSync(file, "", { flag: "wx", mode: 0o600 }));
      unless("ENOENT", make, () => {
        mkdirSync(path, { recursive: true, mode: 0o700 });
        make();
      });
      return [];
    },
    touch(name) {
      const file = join(path, name);
      const now = new Date();
      try {
        unless(
          "ENOENT",
          () => utimesSync(file, now, now),
          () => writeFileSync(file, "", { flag: "wx", mode: 0o600 }),
        );
      } catch {
        // Then the request counts as over after a while.
      }
    },
    touchedAt(name) {
      try {
        return lstatSync(join(path, name)).mtimeMs;
      } catch {
        return undefined;
      }
    },
    watch(changed) {
      try {
        const watcher = watch(path, { persistent: false }, changed);
        watcher.on("error", () => watcher.close());
        return () => watcher.close();
      } catch {
        return () => {};
      }
    },
  };
}

function unless(expected: string, work: () => void, otherwise: () => void = () => {}): void {
  try {
    work();
  } catch (error) {
    if (systemCode(error) !== expected) throw error;
    otherwise();
  }
}
