/** Logins in the system's keyring are found by the setting that put them there, and explained. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { keyringOwner, sayKeyring } from "../../extensions/credentials/keyring.ts";
import { temporaryDirectory } from "./support/homes.ts";

/** The folders of both programs, with these settings in them; undefined = there is no such file. */
function folders(kimiCli: string | undefined, kimiCode: string | undefined) {
  const home = temporaryDirectory();
  const folder = (name: string, settings: string | undefined) => {
    const path = join(home, name);
    mkdirSync(path);
    if (settings !== undefined) writeFileSync(join(path, "config.toml"), settings);
    return path;
  };
  return { kimiShare: folder(".kimi", kimiCli), kimiCodeHome: folder(".kimi-code", kimiCode) };
}

test.each([
  ["in a table of its own", '[providers.kimi.oauth]\nstorage = "keyring"\n'],
  ["in braces", '[providers.kimi]\noauth = { storage = "keyring", key = "oauth/kimi-code" }\n'],
  ["without spaces", "storage='keyring'\n"],
  ["behind tabs", '\tstorage\t=\t"keyring"\n'],
])("a setting is recognised %s", async (_where, settings) => {
  expect(await keyringOwner(folders(settings, undefined))).toBe("kimi-cli");
  expect(await keyringOwner(folders(undefined, settings))).toBe("kimi-code");
});

test.each([
  ["says file", 'storage = "file"\n'],
  ["is commented out", '# storage = "keyring"\n'],
  ["is another one's", 'key_storage = "keyring"\nstorages = "keyring"\n'],
  ["is only mentioned", 'storage = "the keyring"\n'],
  ["has a longer value", 'storage = "keyrings"\n'],
  ["is not there", undefined],
])("nobody's login is in the keyring where the setting %s", async (_how, settings) => {
  expect(await keyringOwner(folders(settings, settings))).toBeUndefined();
});

test("kimi-code's comes first, which no later start moves into a file", async () => {
  const settings = 'storage = "keyring"\n';
  expect(await keyringOwner(folders(settings, settings))).toBe("kimi-code");
});

test("what to do about it is said for each", () => {
  expect(sayKeyring("kimi-cli")).toEqual({
    says: "kimi-cli keeps its login in the system's keyring, where pi cannot share it",
    fix: "start kimi-cli once, which moves it into a file, or type /login kimi-coder in pi",
  });
  expect(sayKeyring("kimi-code")).toEqual({
    says: "kimi-code keeps its login in the system's keyring, where pi cannot share it",
    fix: "type /login kimi-coder in pi",
  });
});
