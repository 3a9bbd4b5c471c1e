/**
 * Rehearses and then replaces kimi-cli's login in the given share directory, or rehearses that a new one is saved there,
 * and says what came of it.
 */
import { kimiCliStore } from "../../../extensions/credentials/kimi-cli.ts";
import type { Token } from "../../../extensions/oauth/token.ts";

// A limit on the size of files is announced by a signal that would otherwise end the process.
process.on("SIGXFSZ", () => {});

const [share = "", what] = process.argv.slice(3);
const store = kimiCliStore({ share });
const token: Token = {
  accessToken: "access-2",
  refreshToken: "refresh-2",
  expiresAt: 1_800_000_900_250,
  lifetime: 900_000,
  scope: "kimi-code",
  tokenType: "Bearer",
};
const say = (outcome: unknown) => console.log(JSON.stringify(outcome));
if (what === "save") {
  say(await store.rehearseSave());
} else {
  say(await store.rehearse());
  say(await store.replace("refresh-1", token));
}
