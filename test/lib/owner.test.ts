/** What root makes in another user's home; of a login, e2e/situations/foreign-owner.test.ts. */
import {
  chownSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lockFile } from "../../extensions/credentials/flock.ts";
import { giveToFolderOwner, makeFolder } from "../../extensions/lib/owner.ts";
import { put, temporaryDirectory } from "../credentials/support/homes.ts";

const [USER, GROUP] = [1234, 2345];
const THEIRS = { uid: USER, gid: GROUP };
const OURS = { uid: 0, gid: 0 };

/** A folder of another user. */
function theirHome(): string {
  const home = join(temporaryDirectory(), "home");
  mkdirSync(home);
  chownSync(home, USER, GROUP);
  return home;
}

function ownersBelow(path: string): Record<string, object> {
  const owner = (name: string) => {
    const { uid, gid } = statSync(join(path, name));
    return { uid, gid };
  };
  return Object.fromEntries(
    readdirSync(path, { recursive: true }).map((name) => [String(name), owner(String(name))]),
  );
}

describe.skipIf(process.getuid?.() !== 0)(
  "what root makes in another user's home belongs to that user:",
  () => {
    it("folders, each as the one above it", () => {
      const home = theirHome();
      mkdirSync(join(home, "there"));
      makeFolder(join(home, "there", "a", "b"), 0o700);
      makeFolder(join(home, "c", "d"), 0o700);
      const made = { "there/a": OURS, "there/a/b": OURS, c: THEIRS, "c/d": THEIRS };
      expect(ownersBelow(home)).toEqual({ there: OURS, ...made });
    });

    it("but nothing that was there before, and nothing to which a link there leads", async () => {
      const home = theirHome();
      const elsewhere = temporaryDirectory();
      const secret = put(join(elsewhere, "secret"), "root's");
      symlinkSync(secret, join(home, "link"));
      symlinkSync(join(elsewhere, "new"), join(home, "dangling"));
      put(join(home, "old"), "");
      for (const name of ["link", "dangling", "old"]) {
        const outcome = await lockFile(join(home, name), { timeout: 0 });
        if (outcome.state === "held") await outcome.release();
        expect(statSync(join(home, name))).toMatchObject(OURS);
      }
      expect(ownersBelow(elsewhere)).toMatchObject({ secret: OURS });
    });

    it("where the file system knows no owners, nothing fails", () => {
      const file = openSync(join(theirHome(), "file"), constants.O_CREAT | constants.O_WRONLY);
      closeSync(file);
      expect(() => giveToFolderOwner(file, "/nonexistent/file")).not.toThrow();
      expect(existsSync("/nonexistent")).toBe(false);
    });
  },
);
