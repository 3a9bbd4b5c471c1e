import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { kimiCliStore } from "../../extensions/credentials/kimi-cli.ts";
import { FIRST, listing, modeOf, put, SECOND, temporaryDirectory } from "./support/homes.ts";
import { hasPython, startNode } from "./support/processes.ts";

const LINE =
  '{"access_token": "access-1", "refresh_token": "refresh-1", "expires_at": 1800000000.0, "scope": "kimi-code", "token_type": "Bearer", "expires_in": 900.0}';
const NEXT =
  '{"access_token": "access-2", "refresh_token": "refresh-2", "expires_at": 1800000900.25, "scope": "kimi-code", "token_type": "Bearer", "expires_in": 900.0}';

function newStore(text?: string) {
  const share = join(temporaryDirectory(), ".kimi");
  const store = kimiCliStore({ share });
  if (text !== undefined) put(store.path, text);
  return { share, store, content: () => readFileSync(store.path, "utf8") };
}

describe("kimi-cli's store", () => {
  it("reads the login, with times in ms", async () => {
    const { store } = newStore(LINE);
    expect(await store.read()).toEqual({ state: "present", token: FIRST });
  });

  it("creates nothing while kimi-cli has no login", async () => {
    const { share, store } = newStore();
    expect(await store.read()).toEqual({ state: "absent" });
    expect(await store.replace("refresh-1", SECOND)).toEqual({
      state: "superseded",
      found: { state: "absent" },
    });
    const nowhere = { state: "failed", code: "ENOENT" };
    expect(await store.lockAmongPi(10)).toEqual(nowhere);
    expect(await store.lockOfOwner(10)).toEqual(nowhere);
    expect(existsSync(share)).toBe(false);
    put(join(share, "credentials", "other"), "");
    expect(await store.lockAmongPi(10)).toEqual(nowhere);
    expect(await store.lockOfOwner(10)).toEqual(nowhere);
    expect(listing(share)).toEqual(["credentials", "credentials/other"]);
  });

  it("saves a new login as kimi-cli does: one line, 0600, directories 0755", async () => {
    const { share, store, content } = newStore();
    expect(await store.save(FIRST)).toEqual({ state: "written" });
    expect(content()).toBe(LINE);
    expect([modeOf(store.path), modeOf(share), modeOf(join(share, "credentials"))]).toEqual([
      0o600, 0o755, 0o755,
    ]);
  });

  it("puts what kimi-cli insists on where neither the server nor the file says it", async () => {
    const { store, content } = newStore();
    await store.save({ ...FIRST, scope: undefined, tokenType: undefined });
    expect(content()).toBe(LINE.replace('"kimi-code"', '""'));
  });

  it.skipIf(!hasPython)("writes the very bytes of Python's json.dumps", async () => {
    const { store, content } = newStore();
    await store.save({
      ...FIRST,
      expiresAt: 1_800_000_000_123,
      scope: 'grüße "und" \\',
      tokenType: undefined,
    });
    const python = `
import json, sys
print(json.dumps({"access_token": "access-1", "refresh_token": "refresh-1", "expires_at": 1800000000.123,
  "scope": 'gr\\u00fc\\u00dfe "und" \\\\', "token_type": "Bearer", "expires_in": float(900)}, ensure_ascii=False), end="")`;
    const env = { ...process.env, PYTHONIOENCODING: "utf-8" };
    expect(content()).toBe(spawnSync("python3", ["-c", python], { encoding: "utf8", env }).stdout);
  });

  it("saves over anything: an old login, a tombstone, rubbish", async () => {
    for (const old of [LINE, '{"access_token": "", "refresh_token": ""}', "{torn", ""]) {
      const { store } = newStore(old);
      expect(await store.save(SECOND)).toEqual({ state: "written" });
      expect(await store.read()).toMatchObject({ state: "present", token: { refreshToken: "refresh-2" } });
    }
  });

  it("replaces the login it was refreshed from, and keeps what it does not know", async () => {
    const { share, store, content } = newStore(LINE);
    expect(await store.replace("refresh-1", SECOND)).toEqual({ state: "written" });
    expect(content()).toBe(NEXT);
    expect(listing(share)).toEqual(["credentials", "credentials/kimi-code.json"]);

    const odd = (line: string) =>
      line.replace("{", '{"account": {"id": 12345678901234567890, "x": 1.0}, ').replace("Bearer", "bearer");
    put(store.path, odd(LINE));
    await store.replace("refresh-1", { ...SECOND, scope: undefined, tokenType: undefined });
    expect(content()).toBe(odd(NEXT));
  });

  it("writes through symlinks and takes stray permissions away", async () => {
    const { share, store } = newStore();
    const real = put(join(share, "..", "elsewhere.json"), LINE, 0o644);
    put(join(share, "credentials", "x"), "");
    symlinkSync(real, store.path);
    expect(await store.replace("refresh-1", SECOND)).toEqual({ state: "written" });
    expect(readFileSync(real, "utf8")).toBe(NEXT);
    expect(modeOf(real)).toBe(0o600);
  });

  it("never overwrites another login, a logout or an absent file", async () => {
    const rotated = newStore(NEXT);
    const found = await rotated.store.read();
    expect(await rotated.store.replace("refresh-1", { ...FIRST, refreshToken: "refresh-3" })).toEqual({
      state: "superseded",
      found,
    });
    expect(rotated.content()).toBe(NEXT);

    const tombstone = '{"access_token": "", "refresh_token": "", "expires_at": 0}';
    const loggedOut = newStore(tombstone);
    expect(await loggedOut.store.replace("refresh-1", SECOND)).toEqual({
      state: "superseded",
      found: { state: "signed-out" },
    });
    expect(loggedOut.content()).toBe(tombstone);

    const gone = newStore(LINE);
    rmSync(gone.store.path);
    expect(await gone.store.replace("refresh-1", SECOND)).toMatchObject({ state: "superseded" });
    expect(existsSync(gone.store.path)).toBe(false);
  });

  it("takes kimi-cli's lock file, and beside it a lock of pi's own that is not in its way", async () => {
    const { share, store } = newStore(LINE);
    const amongPi = await store.lockAmongPi(0);
    const ofOwner = await store.lockOfOwner(0);
    expect([amongPi.state, ofOwner.state]).toEqual(["held", "held"]);
    const lockFile = join(share, "credentials", "kimi-code.lock");
    expect(statSync(lockFile).isFile()).toBe(true);
    expect(modeOf(lockFile)).toBe(0o600);
    expect(await store.lockAmongPi(20)).toEqual({ state: "busy" });
    expect(await store.lockOfOwner(20)).toEqual({ state: "busy" });
    expect(store.ownerLockLimit).toBe(5_000);
  });

  it("frees pi's own lock some seconds after its holder was killed", async () => {
    const { share, store } = newStore(LINE);
    const peer = startNode("peer.ts", ["hold", "kimi-cli", share]);
    expect(await peer.says()).toBe("held");
    expect(await store.lockAmongPi(0)).toEqual({ state: "busy" });
    await peer.kill();
    const folder = join(share, "credentials", "kimi-code.pi.lock");
    const silentFor = (ms: number) => utimesSync(folder, new Date(), new Date(Date.now() - ms));
    silentFor(9_000); // a holder whose disk is slow may be late with its sign of life
    expect(await store.lockAmongPi(0)).toEqual({ state: "busy" });
    silentFor(10_001);
    expect(await store.lockAmongPi(0)).toMatchObject({ state: "held" });
  });
});
