import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { listing, modeOf, put, temporaryDirectory } from "./support/homes.ts";
import { WRITERS } from "./support/writers.ts";

describe.each(WRITERS)("%s", (_, write) => {
  it.each([0o000, 0o022, 0o277])("gives exactly the mode asked for under umask %o", async (umask) => {
    const home = temporaryDirectory();
    const old = put(join(home, "old"), "old", 0o644);
    chmodSync(old, 0o644);
    const before = process.umask(umask);
    onTestFinished(() => void process.umask(before));
    for (const name of ["old", "new"]) {
      expect(await write(join(home, name), "text", { mode: 0o600 })).toEqual({ state: "written" });
      expect(modeOf(join(home, name))).toBe(0o600);
    }
    process.umask(before);
    expect(readFileSync(old, "utf8")).toBe("text");
    expect(listing(home)).toEqual(["new", "old"]);
  });
});
