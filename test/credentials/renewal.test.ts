import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { fingerprint } from "../../extensions/credentials/fingerprint.ts";
import { lockFile } from "../../extensions/credentials/flock.ts";
import { type Renewal, type RenewalParts, renew } from "../../extensions/credentials/renewal.ts";
import type { CredentialStore, LockOutcome, LoginStore } from "../../extensions/credentials/store.ts";
import type { IssuedToken } from "../support/kimi-service/index.ts";
import { startNode } from "./support/processes.ts";
import {
  asToken,
  deferred,
  putLogin,
  type Refresh,
  readObject,
  removeLogin,
  startWorld,
  type World,
} from "./support/world.ts";

const MINUTE = 60_000;

/** One process, as far as a renewal knows it: its store, its way to the service, and what it saw refused. */
function processOf(
  world: World,
  parts: Partial<Pick<RenewalParts, "store" | "refresh" | "leaving" | "successor">> = {},
) {
  const refused = new Set<string>();
  return (rejected?: string): Promise<Renewal> =>
    renew(
      {
        store: parts.store ?? world.kimiCli,
        refresh: parts.refresh ?? world.refresh,
        clock: world.clock,
        refused,
        leaving: parts.leaving ?? new AbortController().signal,
        successor: parts.successor,
      },
      rejected,
    );
}

/** A world in which kimi-cli has logged in and its access token has ended. */
async function expiredWorld() {
  const world = await startWorld();
  const first = world.login(world.kimiCli);
  world.clock.advance(16 * MINUTE);
  return { world, first, renewal: processOf(world) };
}

function presented({ service }: World): (string | undefined)[] {
  return service.refreshes().map(({ refreshToken }) => refreshToken);
}

/** What the service gave last for this login. */
function newest({ service }: World, login: IssuedToken): IssuedToken {
  const tokens = service.currentTokens(login.refresh_token);
  if (!tokens) throw new Error("the login is dead");
  return tokens;
}

function refreshTokenIn(store: CredentialStore): unknown {
  return readObject(store.path).refresh_token;
}

async function isFree(take: Promise<LockOutcome>): Promise<boolean> {
  const lock = await take;
  if (lock.state === "held") await lock.release();
  return lock.state === "held";
}

async function hold(take: Promise<LockOutcome>): Promise<() => Promise<void>> {
  const lock = await take;
  if (lock.state !== "held") throw new Error(lock.state);
  onTestFinished(lock.release);
  return lock.release;
}

/** Waits until the next to wake does so in `ms`. */
async function sleepsFor({ clock }: World, ms: number): Promise<void> {
  while (clock.next() !== ms) await new Promise(setImmediate);
}

const flockPath = (world: World) => join(world.home, ".kimi/credentials/kimi-code.lock");

test("a token that is good for long is adopted without a request and without a lock", async () => {
  const world = await startWorld();
  const first = world.login(world.kimiCli);
  const release = await hold(world.kimiCli.lockAmongPi(0));
  expect(await processOf(world)()).toEqual({ state: "fresh", how: "adopted", token: asToken(first) });
  expect(presented(world)).toEqual([]);
  await release();
});

test.for(["kimiCli", "kimiCode"] as const)(
  "a token past half of its life is renewed and written to %s's file, and the locks are free again",
  async (name) => {
    const world = await startWorld();
    const store = world[name];
    const first = world.login(store);
    putLogin(store.path, { ...first });
    world.clock.advance(7.5 * MINUTE + 1_000);
    const result = await processOf(world, { store })();
    const second = newest(world, first);
    expect(result).toMatchObject({ state: "fresh", how: "refreshed" });
    expect(presented(world)).toEqual([first.refresh_token]);
    expect(await store.read()).toEqual({ state: "present", token: asToken(second) });
    expect(await isFree(store.lockAmongPi(0))).toBe(true);
    expect(await isFree(store.lockOfOwner(0))).toBe(true);
  },
);

test("a rejected token is renewed although it has long to live, any other is taken as it is", async () => {
  const world = await startWorld();
  const first = world.login(world.kimiCli);
  const renewal = processOf(world);
  expect(await renewal(first.access_token)).toMatchObject({ state: "fresh", how: "refreshed" });
  expect(await renewal(first.access_token)).toMatchObject({
    state: "fresh",
    how: "adopted",
    token: { accessToken: newest(world, first).access_token },
  });
  expect(presented(world)).toEqual([first.refresh_token]);
});

test("a refresh token that was refused and still stands on disk ends the login, with one try per process", async () => {
  const { world, first, renewal } = await expiredWorld();
  world.service.revokeLogin();
  expect(await world.drive(renewal())).toEqual({ state: "refused" });
  expect(await world.drive(renewal())).toEqual({ state: "refused" });
  expect(await world.drive(renewal(first.access_token))).toEqual({ state: "refused" });
  expect(presented(world)).toEqual([first.refresh_token]);
  expect(refreshTokenIn(world.kimiCli)).toBe(first.refresh_token);
  expect(await world.drive(processOf(world)())).toEqual({ state: "refused" });
  expect(presented(world)).toHaveLength(2);
});

test("after a refusal, the successor that a peer writes within a second and a half is adopted", async () => {
  const { world, first, renewal } = await expiredWorld();
  await world.refresh(first.refresh_token); // a peer without locks
  const second = newest(world, first);
  const work = renewal();
  await world.service.waitFor(({ kind, status }) => kind === "refresh" && status === 400);
  await sleepsFor(world, 100);
  world.clock.advance(100);
  await sleepsFor(world, 400);
  world.clock.advance(400);
  await sleepsFor(world, 1_000);
  putLogin(world.kimiCli.path, second);
  world.clock.advance(1_000);
  expect(await work).toEqual({ state: "fresh", how: "adopted", token: asToken(second) });
});

test("after a refusal, a successor that is due as well is presented in its turn", async () => {
  const world = await startWorld({ reusePolicy: "refuse" });
  const first = world.login(world.kimiCli);
  await world.refresh(first.refresh_token);
  const second = newest(world, first);
  world.clock.advance(16 * MINUTE);
  const work = processOf(world)();
  await world.clock.asleep();
  await world.service.waitFor(({ status }) => status === 400);
  putLogin(world.kimiCli.path, second);
  expect(await world.drive(work)).toMatchObject({ state: "fresh", how: "refreshed" });
  expect(presented(world).slice(1)).toEqual([first.refresh_token, second.refresh_token]);
});

test("after a refusal, a login that has gone meanwhile is gone", async () => {
  const { world, renewal } = await expiredWorld();
  world.service.revokeLogin();
  const work = renewal();
  await world.service.waitFor(({ status }) => status === 400);
  await sleepsFor(world, 100);
  removeLogin(world.kimiCli.path);
  world.clock.advance(100);
  expect(await work).toEqual({ state: "gone", found: { state: "absent" } });
});

/** A store that counts how often its owner's lock is asked for. */
function countingLocks(real: LoginStore) {
  let taken = 0;
  const store: LoginStore = {
    ...real,
    lockOfOwner(timeout) {
      taken += 1;
      return real.lockOfOwner(timeout);
    },
  };
  return { store, taken: () => taken };
}

test("what a refusal means is settled without the owner's lock", async () => {
  const { world } = await expiredWorld();
  world.service.revokeLogin();
  const { store, taken } = countingLocks(world.kimiCli);
  expect(await world.drive(processOf(world, { store })())).toEqual({ state: "refused" });
  expect(taken()).toBe(1);
});

test("a page, a 403 or a 5xx never ends a login", async () => {
  const { world, first, renewal } = await expiredWorld();
  const answers = [
    { status: 403, body: "<html>no entry</html>" },
    { status: 400, body: { error: "invalid_request" } },
    { status: 401, body: "who are you" },
  ];
  for (const answer of answers) world.service.fault({ path: "token", do: answer });
  expect(await world.drive(renewal())).toEqual({ state: "failed", cause: { kind: "status", status: 401 } });
  expect(await world.drive(renewal())).toMatchObject({ state: "fresh", how: "refreshed" });
  expect(new Set(presented(world))).toEqual(new Set([first.refresh_token]));
});

test("who waits for another pi looks at the file, and adopts at once what it finds", async () => {
  const { world, first, renewal } = await expiredWorld();
  await hold(world.kimiCli.lockAmongPi(0));
  const work = renewal();
  await world.clock.asleep();
  const second = world.login(world.kimiCli);
  expect(second.refresh_token).not.toBe(first.refresh_token);
  world.clock.advance(world.clock.next() ?? 0);
  expect(await work).toMatchObject({ state: "fresh", how: "adopted" });
  expect(world.clock.now() - (world.service.log[0]?.at ?? world.clock.now())).toBeLessThan(100);
});

test("who waits a minute for another pi gives up", async () => {
  const { world, renewal } = await expiredWorld();
  // A lock that is busy at once: a thousand real looks would show nothing more.
  const busy: LoginStore = { ...world.kimiCli, lockAmongPi: async () => ({ state: "busy" }) };
  const before = world.clock.now();
  expect(await world.drive(processOf(world, { store: busy })())).toEqual({
    state: "failed",
    cause: { kind: "busy" },
  });
  expect(world.clock.now() - before).toBe(60_000);
  expect(await renewal()).toMatchObject({ state: "fresh" });
});

test("a lock that the owner's program does not let go of is not broken", async () => {
  const { world } = await expiredWorld();
  const peer = startNode("peer.ts", ["hold", "flock", flockPath(world)]);
  expect(await peer.says()).toBe("held");
  const impatient: LoginStore = { ...world.kimiCli, lockOfOwner: () => world.kimiCli.lockOfOwner(40) };
  expect(await processOf(world, { store: impatient })()).toEqual({
    state: "failed",
    cause: { kind: "busy" },
  });
  expect(presented(world)).toEqual([]);
  expect(await isFree(world.kimiCli.lockAmongPi(0))).toBe(true);
});

test("while the owner's program renews, we wait, and adopt what it has written", async () => {
  const { world, first, renewal } = await expiredWorld();
  const release = await hold(world.kimiCli.lockOfOwner(0));
  const work = renewal();
  await world.refresh(first.refresh_token);
  putLogin(world.kimiCli.path, newest(world, first));
  await release();
  expect(await work).toMatchObject({ state: "fresh", how: "adopted" });
  expect(presented(world)).toHaveLength(1);
});

test("where pi's own lock cannot be taken nothing is presented", async () => {
  const { world } = await expiredWorld();
  const store: LoginStore = {
    ...world.kimiCli,
    lockAmongPi: async () => ({ state: "failed", code: "EROFS" }),
  };
  expect(await processOf(world, { store })()).toEqual({
    state: "failed",
    cause: { kind: "lock", code: "EROFS" },
  });
  expect(presented(world)).toEqual([]);
});

test("where pi's own lock cannot be taken because the login has just gone, that is what is said", async () => {
  const { world } = await expiredWorld();
  const store: LoginStore = {
    ...world.kimiCli,
    async lockAmongPi() {
      removeLogin(world.kimiCli.path);
      return { state: "failed", code: "ENOENT" };
    },
  };
  expect(await processOf(world, { store })()).toEqual({ state: "gone", found: { state: "absent" } });
});

test("where the lock cannot be taken nothing is presented", async () => {
  const { world, renewal } = await expiredWorld();
  mkdirSync(flockPath(world));
  expect(await renewal()).toEqual({ state: "failed", cause: { kind: "lock", code: "EISDIR" } });
  expect(presented(world)).toEqual([]);
  expect(await isFree(world.kimiCli.lockAmongPi(0))).toBe(true);
});

test("where the machine has no such lock at all, the refresh is made without", async () => {
  const { world } = await expiredWorld();
  const store: LoginStore = {
    ...world.kimiCli,
    lockOfOwner: async () => ({ state: "failed", code: "ENOTSUP" }),
  };
  world.service.fault({ path: "token", do: { status: 503, body: "down" } });
  expect(await world.drive(processOf(world, { store })())).toMatchObject({
    state: "fresh",
    how: "refreshed",
  });
});

test("an answer lost before the server acted is repeated once, and nothing is lost", async () => {
  const { world, first, renewal } = await expiredWorld();
  world.service.fault({ path: "token", do: { drop: "before" } });
  expect(await world.drive(renewal())).toMatchObject({ state: "fresh", how: "refreshed" });
  expect(presented(world)).toEqual([first.refresh_token, first.refresh_token]);
  expect(world.service.reusedRefreshTokens()).toBe(0);
});

test("an answer lost after the server acted is repeated exactly once", async () => {
  const { world, first, renewal } = await expiredWorld();
  world.service.fault({ path: "token", do: { drop: "after" } });
  expect(await world.drive(renewal())).toEqual({ state: "refused" });
  expect(await world.drive(renewal())).toEqual({ state: "refused" });
  expect(presented(world)).toEqual([first.refresh_token, first.refresh_token]);
});

test("when the repeat is lost as well, no third is made", async () => {
  const { world, renewal } = await expiredWorld();
  world.service.fault({ path: "token", times: 3, do: { drop: "before" } });
  expect(await world.drive(renewal())).toMatchObject({ state: "failed", cause: { kind: "network" } });
  expect(presented(world)).toHaveLength(2);
});

test("before a lost answer is repeated the file is read again, and a successor there is adopted", async () => {
  const { world, first, renewal } = await expiredWorld();
  world.service.fault({ path: "token", do: { drop: "before" } });
  const work = renewal();
  await world.service.waitFor(({ finished }) => finished);
  await sleepsFor(world, 1_000);
  await world.refresh(first.refresh_token);
  putLogin(world.kimiCli.path, newest(world, first));
  expect(await world.drive(work)).toMatchObject({ state: "fresh", how: "adopted" });
  expect(presented(world)).toHaveLength(2);
});

test("a connection that was never made is tried three times, one and two seconds apart", async () => {
  const { world } = await expiredWorld();
  let calls = 0;
  const refresh: Refresh = async () => {
    calls += 1;
    return { state: "failed", cause: { kind: "network", code: "ECONNREFUSED" }, committed: "no" };
  };
  const before = world.clock.sleeps.length;
  const result = await world.drive(processOf(world, { refresh })());
  expect(result).toEqual({ state: "failed", cause: { kind: "network", code: "ECONNREFUSED" } });
  expect(calls).toBe(3);
  expect(world.clock.sleeps.slice(before).filter((ms) => ms !== 4_300)).toEqual([1_000, 2_000]);
});

test.each([3, 5])("a 429 is asked again no sooner than the server says: %d s", async (seconds) => {
  const { world, renewal } = await expiredWorld();
  const headers = { "retry-after": String(seconds) };
  world.service.fault({ path: "token", do: { status: 429, body: {}, headers } });
  expect(await world.drive(renewal())).toMatchObject({ state: "fresh", how: "refreshed" });
  const [one, two] = world.service.refreshes();
  expect((two?.at ?? 0) - (one?.at ?? 0)).toBe(seconds * 1_000);
});

test("a 429 that asks for more than we wait is not asked again before its time", async () => {
  const { world, renewal } = await expiredWorld();
  const headers = { "retry-after": "6" };
  world.service.fault({ path: "token", do: { status: 429, body: {}, headers } });
  expect(await world.drive(renewal())).toEqual({ state: "failed", cause: { kind: "status", status: 429 } });
  expect(presented(world)).toHaveLength(1);
});

test("kimi-cli's lock is given back before five seconds, pi's is kept, and the late answer is written", async () => {
  const { world, first } = await expiredWorld();
  const answer = deferred<void>();
  const late: Refresh = async (refreshToken) => {
    const outcome = await world.refresh(refreshToken);
    await answer.promise;
    return outcome;
  };
  const work = processOf(world, { refresh: late })();
  await world.service.waitFor(({ kind, finished }) => kind === "refresh" && finished);
  await world.clock.asleep();
  expect(await isFree(lockFile(flockPath(world), 0))).toBe(false);
  world.clock.advance(world.clock.next() ?? 0);
  expect(world.clock.now() - (world.service.refreshes()[0]?.at ?? 0)).toBeLessThan(5_000);
  const peer = startNode("peer.ts", ["hold", "flock", flockPath(world)]);
  expect(await peer.says()).toBe("held");
  expect(await isFree(world.kimiCli.lockAmongPi(0))).toBe(false);
  peer.tell("let go");
  expect(await peer.says()).toBe("released");
  world.clock.advance(1_700);
  answer.resolve();
  expect(await work).toMatchObject({ state: "fresh", how: "refreshed" });
  expect(refreshTokenIn(world.kimiCli)).toBe(newest(world, first).refresh_token);
  expect(await isFree(world.kimiCli.lockAmongPi(0))).toBe(true);
  expect(await isFree(lockFile(flockPath(world), 0))).toBe(true);
});

test("an answer that comes in time is written under the very lock it was asked for under", async () => {
  const { world } = await expiredWorld();
  const { store, taken } = countingLocks(world.kimiCli);
  expect(await processOf(world, { store })()).toMatchObject({ state: "fresh", how: "refreshed" });
  expect(taken()).toBe(1);
  expect(world.clock.sleeping()).toBe(0); // `pi -p` would wait for who sleeps
});

test("a late answer that fails while kimi-cli has its lock again is a failure like any other", async () => {
  const { world } = await expiredWorld();
  let taken = 0;
  const store: LoginStore = {
    ...world.kimiCli,
    lockOfOwner: async (timeout) => (++taken === 2 ? { state: "busy" } : world.kimiCli.lockOfOwner(timeout)),
  };
  const answer = deferred<void>();
  let asked = 0;
  const refresh: Refresh = async (refreshToken) => {
    if (++asked > 1) return world.refresh(refreshToken);
    await answer.promise;
    return { state: "failed", cause: { kind: "status", status: 503 }, committed: "unknown" };
  };
  const work = processOf(world, { store, refresh })();
  await world.clock.asleep();
  world.clock.advance(world.clock.next() ?? 0);
  answer.resolve();
  expect(await world.drive(work)).toMatchObject({ state: "fresh", how: "refreshed" });
  expect(taken).toBe(3);
});

test("kimi-code's lock is kept until the answer has come, however late: it never goes on without", async () => {
  const world = await startWorld();
  world.login(world.kimiCode);
  world.clock.advance(16 * MINUTE);
  const answer = deferred<void>();
  const late: Refresh = async (refreshToken) => {
    const outcome = await world.refresh(refreshToken);
    await answer.promise;
    return outcome;
  };
  const work = processOf(world, { store: world.kimiCode, refresh: late })();
  await world.service.waitFor(({ kind, finished }) => kind === "refresh" && finished);
  expect(world.clock.sleeping()).toBe(0); // no time is set
  expect(await isFree(world.kimiCode.lockOfOwner(0))).toBe(false);
  answer.resolve();
  expect(await work).toMatchObject({ state: "fresh", how: "refreshed" });
});

test("with the real clock and a token endpoint of six seconds, kimi-cli gets its lock within five", async () => {
  const { world, first } = await expiredWorld();
  world.service.fault({ path: "token", do: { delay: 6_000 } });
  const { now } = world.clock;
  const sleep = (ms: number) => new Promise<void>((wake) => setTimeout(wake, ms));
  const leaving = new AbortController().signal;
  const parts = { store: world.kimiCli, refresh: world.refresh, refused: new Set<string>(), leaving };
  const started = performance.now();
  const work = renew({ ...parts, clock: { now, sleep } });
  await world.service.waitFor(({ kind }) => kind === "refresh");
  const peer = startNode("peer.ts", ["hold", "flock", flockPath(world)]);
  expect(await peer.says()).toBe("held");
  expect(performance.now() - started).toBeLessThan(5_000);
  peer.tell("let go");
  expect(await work).toMatchObject({ state: "fresh", how: "refreshed" });
  expect(refreshTokenIn(world.kimiCli)).toBe(newest(world, first).refresh_token);
});

test("what could not be written is not asked for", async () => {
  const { world, first, renewal } = await expiredWorld();
  const store: LoginStore = {
    ...world.kimiCli,
    rehearse: async () => ({ state: "failed", code: "ENOSPC" }),
  };
  expect(await processOf(world, { store })()).toEqual({
    state: "failed",
    cause: { kind: "write", code: "ENOSPC" },
  });
  expect(presented(world)).toEqual([]);
  expect(refreshTokenIn(world.kimiCli)).toBe(first.refresh_token);
  expect(await world.drive(renewal())).toMatchObject({ state: "fresh", how: "refreshed" });
});

test("nothing more is presented once the session has ended", async () => {
  const { world } = await expiredWorld();
  const leave = new AbortController();
  let calls = 0;
  const refresh: Refresh = async () => {
    calls += 1;
    leave.abort();
    return { state: "failed", cause: { kind: "status", status: 503 }, committed: "no" };
  };
  const { store, taken } = countingLocks(world.kimiCli);
  const before = world.clock.now();
  expect(await processOf(world, { store, refresh, leaving: leave.signal })()).toMatchObject({
    state: "failed",
  });
  expect([calls, taken()]).toEqual([1, 1]);
  expect(world.clock.now()).toBe(before);
});

test.for(["pi's", "the owner's"])(
  "who waits for %s lock when the session ends presents nothing",
  async (whose) => {
    const { world } = await expiredWorld();
    const leave = new AbortController();
    const late: LoginStore = {
      ...world.kimiCli,
      async lockAmongPi(timeout) {
        if (whose !== "pi's") return world.kimiCli.lockAmongPi(timeout);
        leave.abort();
        return { state: "busy" };
      },
      lockOfOwner(timeout) {
        leave.abort();
        return world.kimiCli.lockOfOwner(timeout);
      },
    };
    expect(await processOf(world, { store: late, leaving: leave.signal })()).toEqual({
      state: "failed",
      cause: { kind: "network", code: "ABORT_ERR" },
    });
    expect(presented(world)).toEqual([]);
    expect(await isFree(world.kimiCli.lockAmongPi(0))).toBe(true);
    expect(await isFree(world.kimiCli.lockOfOwner(0))).toBe(true);
  },
);

/** The file holds what is used up; its successor is known. */
async function behind(age: number) {
  const { world, first } = await expiredWorld();
  await world.refresh(first.refresh_token);
  const second = newest(world, first);
  world.clock.advance(age);
  const successor = { replaces: fingerprint(first.refresh_token), token: asToken(second) };
  return { world, first, second, successor };
}

test("a successor that could not be written goes into the file, and nothing is presented", async () => {
  const { world, second, successor } = await behind(0);
  const asked = presented(world).length;
  expect(await processOf(world, { successor })()).toMatchObject({ state: "fresh", token: asToken(second) });
  expect(refreshTokenIn(world.kimiCli)).toBe(second.refresh_token);
  expect(presented(world)).toHaveLength(asked);
  expect(await isFree(world.kimiCli.lockAmongPi(0))).toBe(true);
  expect(await isFree(world.kimiCli.lockOfOwner(0))).toBe(true);
});

test("a successor that is due as well is written and then renewed", async () => {
  const { world, first, second, successor } = await behind(16 * MINUTE);
  expect(await processOf(world, { successor })()).toMatchObject({ state: "fresh", how: "refreshed" });
  expect(presented(world)).toEqual([first.refresh_token, second.refresh_token]);
  expect(refreshTokenIn(world.kimiCli)).toBe(newest(world, first).refresh_token);
});

test("a successor that is due, and still cannot be written, is not presented", async () => {
  const { world, first, second, successor } = await behind(16 * MINUTE);
  const store: LoginStore = {
    ...world.kimiCli,
    replace: async () => ({ state: "failed", code: "ENOSPC" }),
  };
  const result = await world.drive(processOf(world, { store, successor })());
  expect(result).toMatchObject({ state: "unsaved", token: asToken(second), code: "ENOSPC" });
  expect(presented(world)).toEqual([first.refresh_token]);
  expect(await isFree(world.kimiCli.lockAmongPi(0))).toBe(false);
  if (result.state === "unsaved") await result.release();
  expect(await isFree(world.kimiCli.lockAmongPi(0))).toBe(true);
  expect(await isFree(world.kimiCli.lockOfOwner(0))).toBe(true);
});

test("a successor whose login goes while it is written is gone", async () => {
  const { world, successor } = await behind(0);
  const store: LoginStore = {
    ...world.kimiCli,
    replace: async () => ({ state: "superseded", found: { state: "absent" } }),
  };
  expect(await processOf(world, { store, successor })()).toEqual({
    state: "gone",
    found: { state: "absent" },
  });
  expect(await isFree(world.kimiCli.lockAmongPi(0))).toBe(true);
});

test("a successor is not written over another login", async () => {
  const { world, successor } = await behind(0);
  const other = world.login(world.kimiCli);
  expect(await processOf(world, { successor })()).toMatchObject({ state: "fresh", token: asToken(other) });
  expect(refreshTokenIn(world.kimiCli)).toBe(other.refresh_token);
});

test("a login that cannot be written is used from memory; the locks are kept until it is written", async () => {
  const { world, first } = await expiredWorld();
  let broken = true;
  const store: LoginStore = {
    ...world.kimiCli,
    replace: async (replaces, token) =>
      broken ? { state: "failed", code: "ENOSPC" } : world.kimiCli.replace(replaces, token),
  };
  const result = await world.drive(processOf(world, { store })());
  if (result.state !== "unsaved") throw new Error(result.state);
  expect(result.code).toBe("ENOSPC");
  expect(result.token.accessToken).toBe(newest(world, first).access_token);
  expect(await result.retry()).toBe(false);
  expect(await isFree(world.kimiCli.lockAmongPi(0))).toBe(false);
  expect(await isFree(lockFile(flockPath(world), 0))).toBe(false);
  broken = false;
  expect(await result.retry()).toBe(true);
  expect(refreshTokenIn(world.kimiCli)).toBe(newest(world, first).refresh_token);
  expect(await isFree(world.kimiCli.lockAmongPi(0))).toBe(true);
  expect(await isFree(lockFile(flockPath(world), 0))).toBe(true);
});

test("a write that fails in passing is repeated at once and nobody hears of it", async () => {
  const { world, first } = await expiredWorld();
  let failures = 2;
  const store: LoginStore = {
    ...world.kimiCli,
    replace: async (replaces, token) =>
      failures-- > 0 ? { state: "failed", code: "EIO" } : world.kimiCli.replace(replaces, token),
  };
  expect(await world.drive(processOf(world, { store })())).toMatchObject({ state: "fresh" });
  expect(refreshTokenIn(world.kimiCli)).toBe(newest(world, first).refresh_token);
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
  expect(await processOf(world, { refresh })()).toEqual({ state: "gone", found: { state: "absent" } });
  expect(await world.kimiCli.read()).toEqual({ state: "absent" });
});

test("when the owner writes its tombstone during the refresh, it stays", async () => {
  const world = await startWorld();
  const first = world.login(world.kimiCode);
  world.clock.advance(16 * MINUTE);
  const tombstone = { ...first, access_token: "", refresh_token: "", expires_at: 0 };
  const refresh = during(world, () => putLogin(world.kimiCode.path, tombstone));
  const gone = { state: "gone", found: { state: "signed-out" } };
  expect(await processOf(world, { store: world.kimiCode, refresh })()).toEqual(gone);
  expect(refreshTokenIn(world.kimiCode)).toBe("");
});

test("when the owner logs in anew during the refresh, its login stands and is used", async () => {
  const { world } = await expiredWorld();
  let fresh: IssuedToken | undefined;
  const refresh = during(world, () => {
    fresh = world.login(world.kimiCli);
  });
  const result = await processOf(world, { refresh })();
  expect(result).toMatchObject({
    state: "fresh",
    how: "adopted",
    token: { accessToken: fresh?.access_token },
  });
  expect(refreshTokenIn(world.kimiCli)).toBe(fresh?.refresh_token);
});

test("where there is no login nothing is created, locked or presented", async () => {
  const world = await startWorld();
  expect(await processOf(world)()).toEqual({ state: "gone", found: { state: "absent" } });
  expect(await processOf(world, { store: world.kimiCode })()).toEqual({
    state: "gone",
    found: { state: "absent" },
  });
  expect(presented(world)).toEqual([]);
});

test("sixteen processes that wait for one are done within two looks after it", async () => {
  const { world, first } = await expiredWorld();
  const answer = deferred<void>();
  const late: Refresh = async (refreshToken) => {
    const outcome = await world.refresh(refreshToken);
    await answer.promise;
    return outcome;
  };
  const one = processOf(world, { refresh: late })();
  await world.service.waitFor(({ finished }) => finished);
  const others = Promise.all(Array.from({ length: 15 }, () => processOf(world)()));
  await world.clock.asleep(16);
  world.clock.advance(800);
  answer.resolve();
  await one;
  const written = world.clock.now();
  const results = await world.drive(others);
  expect(world.clock.now() - written).toBeLessThanOrEqual(120);
  expect(presented(world)).toEqual([first.refresh_token]);
  for (const result of results) expect(result).toMatchObject({ state: "fresh", how: "adopted" });
});
