import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { lockFile } from "../../extensions/credentials/flock.ts";
import { takeLocks } from "../../extensions/credentials/locks.ts";
import type { CredentialStore, Release } from "../../extensions/credentials/store.ts";
import { fingerprint } from "../../extensions/lib/safe-text.ts";
import { asToken } from "../support/world.ts";
import { lateAnswer, MINUTE, newest, presented, renewing, sleepsFor } from "./support/logins.ts";
import { pretendPlatform } from "./support/platform.ts";
import { startNode } from "./support/processes.ts";
import { putLogin, type Refresh, readObject, removeLogin, startWorld, type World } from "./support/world.ts";

/** A world in which kimi-cli has logged in and its access token has ended. */
async function expiredWorld() {
  const world = await startWorld();
  const first = world.login(world.kimiCli);
  world.clock.advance(16 * MINUTE);
  return { world, first, ...renewing(world) };
}

const refreshTokenIn = ({ path }: CredentialStore): unknown => readObject(path).refresh_token;

async function areFree(store: CredentialStore): Promise<boolean> {
  const locking = await takeLocks(store, { timeout: 0 });
  if (locking.state === "held") await locking.release();
  return locking.state === "held";
}

async function hold(store: CredentialStore): Promise<Release> {
  const locking = await takeLocks(store, { timeout: 0 });
  if (locking.state !== "held") throw new Error(locking.state);
  onTestFinished(locking.release);
  return locking.release;
}

const ownersLock = (world: World) => join(world.home, ".kimi/credentials/kimi-code.lock");
const drafts = ({ path }: CredentialStore) =>
  readdirSync(dirname(path)).filter((name) => name.endsWith(".pi-new"));
/** A file that cannot be written as long as it is like this, and that says nothing about the login. */
const damage = ({ path }: CredentialStore) => writeFileSync(path, '{"access_tok');

test("a token that is good for long is adopted without a request", async () => {
  const world = await startWorld();
  const first = world.login(world.kimiCli);
  expect(await renewing(world).renew()).toEqual({ state: "fresh", token: asToken(first) });
  expect(presented(world)).toEqual([]);
});

test.for(["kimiCli", "kimiCode"] as const)(
  "a token past half of its life is renewed and written to %s's file, and the locks are free again",
  async (name) => {
    const world = await startWorld();
    const store = world[name];
    const first = world.login(store);
    world.clock.advance(7.5 * MINUTE + 1_000);
    const result = await renewing(world, { store }).renew();
    const token = asToken(newest(world, first));
    expect(result).toEqual({ state: "fresh", token });
    expect(presented(world)).toEqual([first.refresh_token]);
    expect(await store.read()).toEqual({ state: "present", token });
    expect([await areFree(store), drafts(store), world.clock.sleeping()]).toEqual([true, [], 0]);
  },
);

test("a rejected token is renewed although it has long to live, any other is taken as it is", async () => {
  const world = await startWorld();
  const first = world.login(world.kimiCli);
  const { renew } = renewing(world);
  const { access_token: rejected } = first;
  const renewed = await renew(rejected);
  expect(renewed).toEqual({ state: "fresh", token: asToken(newest(world, first)) });
  expect(await renew(rejected)).toEqual(renewed);
  expect(presented(world)).toEqual([first.refresh_token]);
});

test("where there is no login nothing is created, locked or presented", async () => {
  const world = await startWorld();
  for (const store of [world.kimiCli, world.kimiCode]) {
    expect(await renewing(world, { store }).renew()).toEqual({ state: "gone", found: { state: "absent" } });
    expect(existsSync(dirname(store.path))).toBe(false);
  }
  expect(presented(world)).toEqual([]);
});

test("room for the successor is there before the token is presented, under both locks", async () => {
  const { world } = await expiredWorld();
  const { refresh, sent, answer } = lateAnswer(world);
  const work = renewing(world, { refresh }).renew();
  await sent;
  const [draft = ""] = drafts(world.kimiCli);
  expect(statSync(join(dirname(world.kimiCli.path), draft)).size).toBeGreaterThan(32_768);
  expect(await areFree(world.kimiCli)).toBe(false);
  expect(await lockFile(ownersLock(world), { timeout: 0 })).toEqual({ state: "busy" });
  answer();
  expect(await work).toMatchObject({ state: "fresh" });
});

test("where there is no room, nothing is presented", async () => {
  const { world, first, renew } = await expiredWorld();
  rmSync(world.kimiCli.path);
  const long = join(world.home, "x".repeat(250)); // its draft's name is too long
  putLogin(long, { ...first, expires_at: 0 });
  symlinkSync(long, world.kimiCli.path);
  expect(await renew()).toEqual({ state: "failed", cause: { kind: "write", code: "ENAMETOOLONG" } });
  expect(presented(world)).toEqual([]);
  expect(await areFree(world.kimiCli)).toBe(true);
});

test("sixteen processes at once present one token once, and all have its successor", async () => {
  const { world, first } = await expiredWorld();
  const works = Array.from({ length: 16 }, () => renewing(world).renew());
  const results = await world.drive(Promise.all(works));
  const fresh = { state: "fresh", token: asToken(newest(world, first)) };
  expect(results).toEqual(Array(16).fill(fresh));
  expect(presented(world)).toEqual([first.refresh_token]);
});

test("the locks are held until the answer is written, however late it is", async () => {
  const { world, first } = await expiredWorld();
  const { refresh, sent, answer } = lateAnswer(world);
  const work = renewing(world, { refresh }).renew();
  await sent;
  const peer = startNode("peer.ts", ["hold", "flock", ownersLock(world)]); // kimi-cli
  const held = peer.says().then(() => refreshTokenIn(world.kimiCli));
  world.clock.advance(119_000);
  expect(await lockFile(ownersLock(world), { timeout: 100 })).toEqual({ state: "busy" });
  answer();
  await work;
  expect(await held).toBe(newest(world, first).refresh_token);
});

test("while the owner's program renews, we wait, and adopt what it has written", async () => {
  const { world, first, renew } = await expiredWorld();
  const theirs = await lockFile(ownersLock(world), { timeout: 0 });
  const work = renew();
  await world.refresh(first.refresh_token);
  putLogin(world.kimiCli.path, newest(world, first));
  if (theirs.state === "held") await theirs.release();
  expect(await work).toEqual({ state: "fresh", token: asToken(newest(world, first)) });
  expect(presented(world)).toHaveLength(1);
});

test("where a lock cannot be taken nothing is presented, and it is said which", async () => {
  const { world, renew } = await expiredWorld();
  mkdirSync(ownersLock(world));
  const cause = { kind: "lock", code: "EISDIR", path: ownersLock(world) };
  expect(await renew()).toEqual({ state: "failed", cause });
  expect(presented(world)).toEqual([]);
});

test("where the machine has no such lock at all, the refresh is made without", async () => {
  pretendPlatform("win32");
  const { world, renew } = await expiredWorld();
  expect(await renew()).toMatchObject({ state: "fresh" });
  expect(existsSync(ownersLock(world))).toBe(false);
});

test("a refusal of what still stands on disk after a second and a half ends the login, with one try in a process", async () => {
  const { world, first, renew } = await expiredWorld();
  world.service.revokeLogin();
  const before = world.clock.now();
  expect(await world.drive(renew())).toEqual({ state: "refused" });
  expect(world.clock.now() - before).toBe(1_500);
  world.clock.advance(60 * MINUTE);
  expect(await world.drive(renew())).toEqual({ state: "refused" });
  expect(await world.drive(renew(first.access_token))).toEqual({ state: "refused" });
  expect(presented(world)).toEqual([first.refresh_token]);
  expect(refreshTokenIn(world.kimiCli)).toBe(first.refresh_token);
  expect(await world.drive(renewing(world).renew())).toEqual({ state: "refused" });
  expect(presented(world)).toHaveLength(2);
});

test("a login that was refused is forgotten as soon as another is there", async () => {
  const { world, renew } = await expiredWorld();
  world.service.revokeLogin();
  await world.drive(renew());
  const second = world.login(world.kimiCli);
  expect(await renew()).toEqual({ state: "fresh", token: asToken(second) });
});

test("after a refusal, the successor that a peer writes within a second and a half is adopted", async () => {
  const { world, first, renew } = await expiredWorld();
  await world.refresh(first.refresh_token); // a peer without locks
  const second = newest(world, first);
  const work = renew();
  for (const pause of [100, 400, 1_000]) {
    await sleepsFor(world, pause);
    if (pause === 1_000) putLogin(world.kimiCli.path, second);
    world.clock.advance(pause);
  }
  expect(await work).toEqual({ state: "fresh", token: asToken(second) });
});

test("after a refusal, a successor that is due as well is presented in its turn", async () => {
  const world = await startWorld({ reusePolicy: "refuse" });
  const first = world.login(world.kimiCli);
  await world.refresh(first.refresh_token);
  const second = newest(world, first);
  world.clock.advance(16 * MINUTE);
  const work = renewing(world).renew();
  await sleepsFor(world, 100);
  putLogin(world.kimiCli.path, second);
  expect(await world.drive(work)).toMatchObject({ state: "fresh" });
  expect(presented(world).slice(1)).toEqual([first.refresh_token, second.refresh_token]);
});

test("after a refusal, a login that has gone meanwhile is gone", async () => {
  const { world, renew } = await expiredWorld();
  world.service.revokeLogin();
  const work = renew();
  await sleepsFor(world, 100);
  removeLogin(world.kimiCli.path);
  world.clock.advance(100);
  expect(await work).toEqual({ state: "gone", found: { state: "absent" } });
});

test.for([
  { status: 500, body: { error: "invalid_grant" } },
  { status: 403, body: "<html>no entry</html>" },
])(
  "a token is presented three times where the answer says nothing about it, then rests for 30 s: %j",
  async (answer) => {
    const { world, first, renew } = await expiredWorld();
    const over = world.service.fault({ path: "token", times: 99, do: answer });
    const failure = { state: "failed", cause: { kind: "status", status: answer.status } };
    const before = world.clock.now();
    expect(await world.drive(renew())).toEqual(failure);
    expect(world.clock.now() - before).toBe(3_000);
    expect(presented(world)).toHaveLength(3);
    world.clock.advance(29_999);
    expect(await world.drive(renew())).toEqual(failure);
    expect(await world.drive(renew(first.access_token))).toEqual(failure);
    expect(presented(world)).toHaveLength(3);
    over();
    world.clock.advance(1);
    expect(await world.drive(renew())).toMatchObject({ state: "fresh" });
    expect(new Set(presented(world))).toEqual(new Set([first.refresh_token]));
  },
);

test.for([3, 5])("a 429 is asked again no sooner than the server says: %d s", async (seconds) => {
  const { world, renew } = await expiredWorld();
  const headers = { "retry-after": String(seconds) };
  world.service.fault({ path: "token", do: { status: 429, body: {}, headers } });
  expect(await world.drive(renew())).toMatchObject({ state: "fresh" });
  const [one, two] = world.service.refreshes();
  expect((two?.at ?? 0) - (one?.at ?? 0)).toBe(seconds * 1_000);
});

test("a 429 that asks for more than anybody waits is not asked again before its time", async () => {
  const { world, renew } = await expiredWorld();
  const headers = { "retry-after": "6" };
  world.service.fault({ path: "token", do: { status: 429, body: {}, headers } });
  expect(await world.drive(renew())).toEqual({ state: "failed", cause: { kind: "status", status: 429 } });
  world.clock.advance(5_999);
  await world.drive(renew());
  expect(presented(world)).toHaveLength(1);
});

test("a connection that was never made is tried three times, one and two seconds apart, and at once by the next who asks", async () => {
  const { world } = await expiredWorld();
  const asked: number[] = [];
  const refresh: Refresh = async () => {
    asked.push(world.clock.now());
    return { state: "failed", cause: { kind: "network", code: "ECONNREFUSED" }, committed: "no" };
  };
  const { renew } = renewing(world, { refresh });
  const failure = { state: "failed", cause: { kind: "network", code: "ECONNREFUSED" } };
  expect(await world.drive(renew())).toEqual(failure);
  expect(asked.map((at) => at - (asked[0] ?? 0))).toEqual([0, 1_000, 3_000]);
  expect(await world.drive(renew())).toEqual(failure);
  expect(asked).toHaveLength(6);
});

test("an answer lost before the server acted is repeated once, and nothing is lost", async () => {
  const { world, first, renew } = await expiredWorld();
  world.service.fault({ path: "token", do: { drop: "before" } });
  expect(await world.drive(renew())).toMatchObject({ state: "fresh" });
  expect(presented(world)).toEqual([first.refresh_token, first.refresh_token]);
  expect(world.service.reusedRefreshTokens()).toBe(0);
});

test("an answer lost after the server acted is repeated once in a process, whoever asks and however often", async () => {
  const { world, first, renew } = await expiredWorld();
  world.service.fault({ path: "token", do: { drop: "after" } });
  expect(await world.drive(renew())).toEqual({ state: "refused" });
  world.clock.advance(60 * MINUTE);
  expect(await world.drive(renew())).toEqual({ state: "refused" });
  expect(presented(world)).toEqual([first.refresh_token, first.refresh_token]);
});

test("when the repeat is lost as well, the next one waits 30 s, and saves a login whose server never acted", async () => {
  const { world, first, renew } = await expiredWorld();
  const page = { status: 200, body: "<html>Welcome to the hotel</html>", contentType: "text/html" };
  world.service.fault({ path: "token", times: 2, do: page });
  const failure = { state: "failed", cause: { kind: "unreadable" } };
  expect(await world.drive(renew())).toMatchObject(failure);
  world.clock.advance(29_000);
  expect(await world.drive(renew())).toMatchObject(failure);
  expect(await world.drive(renew(first.access_token))).toMatchObject(failure);
  expect(presented(world)).toHaveLength(2);
  world.clock.advance(1_000);
  expect(await world.drive(renew())).toMatchObject({ state: "fresh" });
  expect(world.service.reusedRefreshTokens()).toBe(0);
});

test("a clock that is set back ends the rest", async () => {
  const { world, renew } = await expiredWorld();
  world.service.fault({ path: "token", times: 3, do: { status: 503, body: "" } });
  expect(await world.drive(renew())).toMatchObject({ state: "failed" });
  world.clock.advance(-10_000);
  expect(await world.drive(renew())).toMatchObject({ state: "fresh" });
});

test("an answer lost after one of a busy server is repeated too", async () => {
  const { world } = await expiredWorld();
  const answers: Refresh[] = [
    async () => ({ state: "failed", cause: { kind: "status", status: 503 }, committed: "no" }),
    async () => ({ state: "failed", cause: { kind: "network", code: "ECONNRESET" }, committed: "unknown" }),
  ];
  const refresh: Refresh = (token) => (answers.shift() ?? world.refresh)(token);
  expect(await world.drive(renewing(world, { refresh }).renew())).toMatchObject({ state: "fresh" });
  expect(answers).toEqual([]);
});

test("before a lost answer is repeated the file is read again, and a successor there is adopted", async () => {
  const { world, first, renew } = await expiredWorld();
  world.service.fault({ path: "token", do: { drop: "before" } });
  const work = renew();
  await sleepsFor(world, 1_000);
  await world.refresh(first.refresh_token);
  putLogin(world.kimiCli.path, newest(world, first));
  expect(await world.drive(work)).toEqual({ state: "fresh", token: asToken(newest(world, first)) });
  expect(presented(world)).toHaveLength(2);
});

/** Something that happens while the answer is under way. */
function during(world: World, event: () => void): Refresh {
  return async (refreshToken) => {
    const outcome = await world.refresh(refreshToken);
    event();
    return outcome;
  };
}

test("when the owner logs out during the refresh, its file is not created again", async () => {
  const { world } = await expiredWorld();
  const refresh = during(world, () => removeLogin(world.kimiCli.path));
  expect(await renewing(world, { refresh }).renew()).toEqual({ state: "gone", found: { state: "absent" } });
  expect(await world.kimiCli.read()).toEqual({ state: "absent" });
});

test("when the owner logs in anew during the refresh, its login stands and is used", async () => {
  const { world } = await expiredWorld();
  let second: unknown;
  const refresh = during(world, () => {
    second = asToken(world.login(world.kimiCli));
  });
  expect(await renewing(world, { refresh }).renew()).toEqual({ state: "fresh", token: second });
  expect(await world.kimiCli.read()).toEqual({ state: "present", token: second });
});

test("a write that fails in passing is repeated at once and nobody hears of it", async () => {
  const { world, first } = await expiredWorld();
  const text = readFileSync(world.kimiCli.path, "utf8");
  const refresh = during(world, () => damage(world.kimiCli));
  const { renew, inFlight } = renewing(world, { refresh });
  const work = renew();
  await sleepsFor(world, 50);
  world.clock.advance(50);
  await sleepsFor(world, 200);
  writeFileSync(world.kimiCli.path, text);
  world.clock.advance(200);
  expect(await work).toEqual({ state: "fresh", token: asToken(newest(world, first)) });
  expect([inFlight.unsaved.size, await areFree(world.kimiCli)]).toEqual([0, true]);
  expect(refreshTokenIn(world.kimiCli)).toBe(newest(world, first).refresh_token);
});

/** A renewed login that cannot be written. */
async function unsaved() {
  const { world, first } = await expiredWorld();
  const text = readFileSync(world.kimiCli.path, "utf8");
  const refresh = during(world, () => damage(world.kimiCli));
  const process = renewing(world, { refresh });
  const result = await world.drive(process.renew());
  const second = newest(world, first);
  expect(result).toEqual({ state: "fresh", token: asToken(second) });
  return { world, first, second, ...process, repair: () => writeFileSync(world.kimiCli.path, text) };
}

test("a login that cannot be written is used from memory, the locks and the room are kept, and it is written when it can be", async () => {
  const { world, first, second, inFlight, repair } = await unsaved();
  const { path } = world.kimiCli;
  expect(inFlight.unsaved.get(path)).toEqual({
    token: asToken(second),
    replaces: first.refresh_token,
    code: "EBADMSG",
  });
  expect([await areFree(world.kimiCli), drafts(world.kimiCli).length]).toEqual([false, 1]);
  const other = renewing(world).renew();
  repair();
  world.clock.advance(1_000);
  expect(await other).toEqual({ state: "fresh", token: asToken(second) });
  expect(refreshTokenIn(world.kimiCli)).toBe(second.refresh_token);
  expect([inFlight.unsaved.size, drafts(world.kimiCli)]).toEqual([0, []]);
  expect(presented(world)).toEqual([first.refresh_token]);
  expect(await areFree(world.kimiCli)).toBe(true);
});

test("it is tried again after longer and longer pauses, and at once when the process is about to end", async () => {
  const { world, second, inFlight, repair } = await unsaved();
  for (const pause of [1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) {
    await sleepsFor(world, pause);
    world.clock.advance(pause);
  }
  await sleepsFor(world, 15_000);
  repair();
  const before = world.clock.now();
  await inFlight.end(true);
  expect(world.clock.now()).toBe(before);
  expect(refreshTokenIn(world.kimiCli)).toBe(second.refresh_token);
});

test("it is given up with the process's patience, and the room and the locks with it", async () => {
  const { world, inFlight } = await unsaved();
  await world.drive(inFlight.end(true));
  await expect.poll(() => [inFlight.unsaved.size, drafts(world.kimiCli)]).toEqual([0, []]);
  expect(await areFree(world.kimiCli)).toBe(true);
  expect(world.clock.sleeping()).toBe(0); // nothing keeps the process alive
});

test("its owner's logout is respected", async () => {
  const { world, inFlight } = await unsaved();
  removeLogin(world.kimiCli.path);
  world.clock.advance(1_000);
  await expect.poll(() => inFlight.unsaved.size).toBe(0);
  expect(existsSync(world.kimiCli.path)).toBe(false);
});

test("nothing more is presented once the process is about to end", async () => {
  const { world } = await expiredWorld();
  let calls = 0;
  const refresh: Refresh = async () => {
    calls += 1;
    return { state: "failed", cause: { kind: "status", status: 503 }, committed: "no" };
  };
  const { renew, inFlight } = renewing(world, { refresh });
  const work = renew();
  await sleepsFor(world, 1_000);
  const before = world.clock.now();
  await inFlight.end(true);
  expect(await work).toEqual({ state: "failed", cause: { kind: "leaving" } });
  expect([calls, world.clock.now()]).toEqual([1, before]);
  expect(await areFree(world.kimiCli)).toBe(true);
});

test("who waits for a lock when the process is about to end presents nothing", async () => {
  const { world, renew, inFlight } = await expiredWorld();
  const release = await hold(world.kimiCli);
  const work = renew();
  await expect.poll(() => process.getActiveResourcesInfo()).toContain("ProcessWrap");
  await inFlight.end(true);
  expect(await work).toEqual({ state: "failed", cause: { kind: "leaving" } });
  await release();
  expect(presented(world)).toEqual([]);
});

test("a refresh that was sent is not ended by the end of the process, which waits for it, and then gives up", async () => {
  const { world, first } = await expiredWorld();
  let givenUp: AbortSignal | undefined;
  const { refresh: late, sent, answer } = lateAnswer(world);
  const refresh: Refresh = (token, signal) => {
    givenUp = signal;
    return late(token);
  };
  const { renew, inFlight } = renewing(world, { refresh });
  const work = renew();
  await sent;
  const ending = inFlight.end(true);
  await sleepsFor(world, 28_000);
  world.clock.advance(27_999);
  expect(givenUp?.aborted).toBe(false);
  world.clock.advance(1);
  await ending;
  expect(givenUp?.aborted).toBe(true);
  answer();
  expect(await work).toMatchObject({ state: "fresh" });
  expect(refreshTokenIn(world.kimiCli)).toBe(newest(world, first).refresh_token);
});

test("what is remembered of a token does not tell it", async () => {
  const { world, first, renew, inFlight } = await expiredWorld();
  world.service.revokeLogin();
  await world.drive(renew());
  expect([...inFlight.presented.keys()]).toEqual([fingerprint(first.refresh_token)]);
});
