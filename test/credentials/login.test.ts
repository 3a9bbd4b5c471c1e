import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { lockDirectorySync } from "../../extensions/credentials/directory-lock.ts";
import { takeLocks } from "../../extensions/credentials/locks.ts";
import type { Access } from "../../extensions/credentials/login.ts";
import { asToken } from "../support/world.ts";
import { put } from "./support/homes.ts";
import { lateAnswer, MINUTE, newest, presented, sleepsFor } from "./support/logins.ts";
import {
  deferred,
  logOutOfPi,
  putLogin,
  type Refresh,
  type RunningProcess,
  readObject,
  removeLogin,
  startWorld,
  type World,
} from "./support/world.ts";

/** A world with kimi-cli's login, `age` ms old, and a process in it. */
async function loggedIn(age = 0) {
  const world = await startWorld();
  const first = world.login(world.kimiCli);
  world.clock.advance(age);
  return { world, first, pi: world.start() };
}

function accessToken(access: Access): string {
  if (access.state !== "ready") throw new Error(JSON.stringify(access.reason.kind));
  return access.token.accessToken;
}

const reason = (access: Access): string =>
  access.state === "unavailable" ? access.reason.kind : access.state;

/** Waits until this process has nothing under way, as pi does at the end. */
async function rest(world: World, ...processes: RunningProcess[]): Promise<void> {
  for (const pi of processes) await world.drive(pi.end());
}

const entryOf = ({ authPath }: World): unknown => readObject(authPath)["kimi-coder"];

/** Lets a renewal that is only due begin: the request that noticed it is on its way by then. */
async function beginRenewal(world: World, pi: RunningProcess) {
  await sleepsFor(world, 20);
  world.clock.advance(20);
  const running = () => pi.inFlight.renewals.get(world.kimiCli.path);
  while (!running()) await new Promise(setImmediate);
  return { ended: running() };
}

test("without any login there is none, and nothing is created", async () => {
  const world = await startWorld();
  const pi = world.start();
  for (const access of [await pi.current(), await pi.keepFresh(), await pi.afterRejection("token")]) {
    expect(reason(access)).toBe("no-login");
  }
  await rest(world, pi);
  expect(world.service.log).toEqual([]);
  expect(await world.readEntry()).toEqual({ state: "absent" });
});

test("a valid login is used without a request, and mirrored with where it came from", async () => {
  const { world, first, pi } = await loggedIn();
  expect(await pi.current()).toEqual({ state: "ready", token: asToken(first), store: world.kimiCli });
  expect(pi.expiresAt()).toBe(first.expires_at * 1000);
  await rest(world, pi);
  expect(world.service.log).toEqual([]);
  expect(entryOf(world)).toEqual({
    type: "oauth",
    access: first.access_token,
    refresh: first.refresh_token,
    expires: first.expires_at * 1000,
    owner: "kimi-cli",
    source: world.kimiCli.path,
  });
  expect(pi.events).toEqual([{ kind: "mirrored" }]);
});

test("whoever needs a token at the same time, in all sessions of a process, shares one refresh", async () => {
  const { world, first, pi } = await loggedIn(16 * MINUTE);
  const next = world.start({ inFlight: pi.inFlight }); // after /new
  const calls = [
    pi.keepFresh(),
    pi.afterRejection(first.access_token),
    ...Array.from({ length: 10 }, () => [pi.current(), next.current()]).flat(),
  ];
  const tokens = new Set((await world.drive(Promise.all(calls))).map(accessToken));
  expect(tokens).toEqual(new Set([newest(world, first).access_token]));
  expect(presented(world)).toEqual([first.refresh_token]);
});

test("a request with a valid token does not wait for its renewal, which begins when the request is on its way", async () => {
  const { world, first, pi } = await loggedIn(8 * MINUTE);
  world.service.fault({ path: "token", do: { hang: true } });
  expect(accessToken(await pi.current())).toBe(first.access_token);
  expect(world.service.log).toEqual([]);
  await beginRenewal(world, pi);
  await world.service.waitFor(({ kind }) => kind === "refresh");
  expect(accessToken(await pi.current())).toBe(first.access_token);
  expect(presented(world)).toHaveLength(1);
});

test("a request waits 28 s for a renewal, which goes on", async () => {
  const { world, first } = await loggedIn(16 * MINUTE);
  const { refresh, sent, answer } = lateAnswer(world);
  const pi = world.start({ refresh });
  const work = pi.current();
  await sent;
  const later = pi.current();
  await world.clock.asleep(2);
  world.clock.advance(27_999);
  const soon = new Promise(setImmediate).then(() => "soon");
  expect(await Promise.race([work, later, soon])).toBe("soon");
  world.clock.advance(1);
  const slow = { kind: "failed", store: world.kimiCli, cause: { kind: "slow" } };
  expect(await work).toEqual({ state: "unavailable", reason: slow });
  expect(await later).toEqual({ state: "unavailable", reason: slow });
  answer();
  expect(accessToken(await world.drive(pi.current()))).toBe(newest(world, first).access_token);
  expect(presented(world)).toHaveLength(1);
});

test("a token endpoint that is down takes nothing from a valid token", async () => {
  const { world, first, pi } = await loggedIn(8 * MINUTE);
  world.service.fault({ path: "token", times: 99, do: { status: 503, body: "down" } });
  expect(accessToken(await world.drive(pi.keepFresh()))).toBe(first.access_token);
  expect(pi.expiresAt()).toBe(first.expires_at * 1000);
  expect(accessToken(await pi.current())).toBe(first.access_token);
  world.clock.advance(8 * MINUTE);
  expect(await world.drive(pi.current())).toMatchObject({
    reason: { kind: "failed", cause: { kind: "status", status: 503 } },
  });
});

test("a login that was refused still gives its valid token, and is presented once", async () => {
  const { world, first, pi } = await loggedIn(8 * MINUTE);
  world.service.revokeLogin();
  expect(accessToken(await world.drive(pi.keepFresh()))).toBe(first.access_token);
  for (let i = 0; i < 5; i++) expect(accessToken(await pi.current())).toBe(first.access_token);
  world.clock.advance(8 * MINUTE);
  expect(reason(await world.drive(pi.current()))).toBe("refused");
  expect(reason(await world.drive(pi.keepFresh()))).toBe("refused");
  expect(presented(world)).toHaveLength(1);
});

test("requests whose token is rejected share one renewal, and late ones take what it brought", async () => {
  const { world, first, pi } = await loggedIn();
  const other = world.start();
  const calls = Array.from({ length: 8 }, () => pi.afterRejection(first.access_token));
  const second = newest(world, first);
  const answers = await world.drive(Promise.all(calls));
  const { access_token } = newest(world, first);
  expect(access_token).not.toBe(second.access_token);
  expect(new Set(answers.map(accessToken))).toEqual(new Set([access_token]));
  expect(accessToken(await pi.afterRejection(first.access_token))).toBe(access_token);
  expect(accessToken(await other.afterRejection(first.access_token))).toBe(access_token);
  expect(presented(world)).toHaveLength(1);
});

test("a rejection is not answered by a renewal that began before it and found nothing to do", async () => {
  const { world, first } = await loggedIn(8 * MINUTE);
  const [begun, gate] = [deferred<void>(), deferred<void>()];
  const waits: typeof takeLocks = async (...given) => {
    begun.resolve();
    await gate.promise;
    return takeLocks(...given);
  };
  const pi = world.start({ steps: { takeLocks: waits } });
  const check = pi.keepFresh();
  await begun.promise;
  putLogin(world.kimiCli.path, { ...first, expires_at: first.expires_at + 900 });
  const rejection = pi.afterRejection(first.access_token);
  await sleepsFor(world, 28_000); // it waits for the renewal under way
  gate.resolve();
  expect(accessToken(await world.drive(rejection))).toBe(newest(world, first).access_token);
  expect(accessToken(await check)).toBe(first.access_token);
  expect(presented(world)).toHaveLength(1);
});

test("a rejected token is not given out again where it cannot be renewed", async () => {
  const { world, first, pi } = await loggedIn();
  world.service.fault({ path: "token", times: 99, do: { status: 404, body: "" } });
  const calls = [1, 2, 3].map(() => pi.afterRejection(first.access_token));
  expect((await world.drive(Promise.all(calls))).map(reason)).toEqual(["failed", "failed", "failed"]);
  expect(presented(world)).toHaveLength(3);
});

/** A process that cannot write what it has renewed, because kimi-cli's file is damaged as long as it is not repaired. */
async function unsaved(age: number) {
  const { world, first } = await loggedIn(age);
  const text = readFileSync(world.kimiCli.path, "utf8");
  const refresh: Refresh = async (refreshToken) => {
    const outcome = await world.refresh(refreshToken);
    writeFileSync(world.kimiCli.path, '{"access_tok');
    return outcome;
  };
  const pi = world.start({ refresh });
  const access = await world.drive(pi.keepFresh());
  const second = newest(world, first);
  expect(accessToken(access)).toBe(second.access_token);
  return { world, first, second, pi, repair: () => writeFileSync(world.kimiCli.path, text) };
}

test("a renewed login that its file does not hold yet is used in its place, and told of once", async () => {
  const { world, first, second, pi, repair } = await unsaved(8 * MINUTE);
  repair(); // holds the old one, until the next attempt to write
  expect(accessToken(await pi.current())).toBe(second.access_token);
  expect(accessToken(await pi.keepFresh())).toBe(second.access_token);
  expect(accessToken(await pi.afterRejection(first.access_token))).toBe(second.access_token);
  const next = world.start({ inFlight: pi.inFlight }); // after /new
  expect(accessToken(await next.current())).toBe(second.access_token);
  const { path } = world.kimiCli;
  expect(pi.events.filter(({ kind }) => kind === "unsaved")).toEqual([
    { kind: "unsaved", path, code: "EBADMSG" },
  ]);
  await rest(world, pi, next);
  expect(readObject(path).refresh_token).toBe(second.refresh_token);
  expect(presented(world)).toHaveLength(1);
  expect(accessToken(await world.start().current())).toBe(second.access_token);
});

test("a renewed token that cannot be written is no token once it was rejected, or has ended", async () => {
  const { world, second, pi, repair } = await unsaved(16 * MINUTE);
  repair();
  const failed = {
    state: "unavailable",
    reason: { kind: "failed", cause: { kind: "write", code: "EBADMSG" } },
  };
  expect(await pi.afterRejection(second.access_token)).toMatchObject(failed);
  // Only the clock of who asks goes on: nothing is written in between.
  pi.inFlight.unsaved.set(world.kimiCli.path, {
    token: { ...asToken(second), expiresAt: world.clock.now() },
    replaces: String(readObject(world.kimiCli.path).refresh_token),
    code: "EBADMSG",
  });
  expect(await pi.current()).toMatchObject(failed);
  expect(presented(world)).toHaveLength(1);
});

test("when kimi-cli logs out, its login is used no longer and not created again", async () => {
  const { world, pi } = await loggedIn();
  await pi.current();
  await rest(world, pi);
  removeLogin(world.kimiCli.path);
  const gone = { kind: "problem", problem: { store: world.kimiCli, found: { state: "absent" } } };
  for (const access of [await pi.current(), await pi.keepFresh(), await world.start().current()]) {
    expect(access).toEqual({ state: "unavailable", reason: gone });
  }
  expect(pi.expiresAt()).toBeUndefined();
  await rest(world, pi);
  expect(await world.kimiCli.read()).toEqual({ state: "absent" });
});

test("when kimi-cli logs out during a refresh, the login ends there", async () => {
  const { world } = await loggedIn(16 * MINUTE);
  const { refresh, sent, answer } = lateAnswer(world);
  const work = world.start({ refresh }).current();
  await sent;
  removeLogin(world.kimiCli.path);
  answer();
  const problem = { store: world.kimiCli, found: { state: "absent" } };
  expect(await work).toEqual({ state: "unavailable", reason: { kind: "problem", problem } });
  expect(await world.kimiCli.read()).toEqual({ state: "absent" });
});

test("a new login by kimi-cli during a refresh is what is used and mirrored", async () => {
  const { world } = await loggedIn(16 * MINUTE);
  const { refresh, sent, answer } = lateAnswer(world);
  const pi = world.start({ refresh });
  const work = pi.current();
  await sent;
  const second = world.login(world.kimiCli);
  answer();
  expect(accessToken(await work)).toBe(second.access_token);
  await rest(world, pi);
  expect(entryOf(world)).toMatchObject({ refresh: second.refresh_token });
});

/** Logged out in pi after a session. */
async function loggedOut() {
  const { world, first, pi } = await loggedIn();
  await pi.current();
  await rest(world, pi);
  logOutOfPi(world.authPath);
  return { world, first };
}

/** What a pi that starts now makes of it. */
async function restarted(world: World): Promise<string> {
  const pi = world.start();
  const access = await world.drive(pi.keepFresh());
  await rest(world, pi);
  return reason(access);
}

test("a logout in pi outlives restarts, the owner's rotations and its new logins", async () => {
  const { world, first } = await loggedOut();
  expect(await restarted(world)).toBe("logged-out");
  world.clock.advance(8 * MINUTE);
  await world.refresh(first.refresh_token); // by kimi-cli
  putLogin(world.kimiCli.path, newest(world, first));
  expect(await restarted(world)).toBe("logged-out");
  removeLogin(world.kimiCli.path);
  expect(await restarted(world)).toBe("no-login");
  world.login(world.kimiCli);
  expect(await restarted(world)).toBe("logged-out");
  expect(entryOf(world)).toBeUndefined();
});

test("a logout in pi while a rejected token is being renewed is not undone by that renewal", async () => {
  const { world, first, pi } = await loggedIn();
  await pi.current();
  await rest(world, pi);
  const { refresh, sent, answer } = lateAnswer(world);
  const other = world.start({ refresh });
  const work = other.afterRejection(first.access_token);
  await sent;
  logOutOfPi(world.authPath);
  answer();
  await work;
  await rest(world, other);
  expect(entryOf(world)).toBeUndefined();
  expect(other.events).toEqual([]);
  expect(await restarted(world)).toBe("logged-out");
});

test("a logout in pi is respected even if the memory was lost while pi was in use", async () => {
  const { world, pi } = await loggedIn();
  await pi.current();
  await rest(world, pi);
  rmSync(world.memoryPath);
  expect(await restarted(world)).toBe("ready");
  logOutOfPi(world.authPath);
  expect(await restarted(world)).toBe("logged-out");
});

test("an entry that is nobody else's is a login: used, renewed, and written back to auth.json alone", async () => {
  const world = await startWorld();
  const first = world.service.issueLogin();
  const { access_token: access, refresh_token: refresh, expires_at } = first;
  const entry = { type: "oauth", access, refresh, expires: expires_at * 1000 };
  put(world.authPath, JSON.stringify({ zai: { type: "api_key", key: "k" }, "kimi-coder": entry }));
  const pi = world.start();
  expect(accessToken(await pi.current())).toBe(access);
  world.clock.advance(16 * MINUTE);
  const renewed = await world.drive(pi.current());
  const second = newest(world, first);
  expect(renewed).toMatchObject({ store: { owner: "pi" }, token: { accessToken: second.access_token } });
  await rest(world, pi);
  expect(readObject(world.authPath)).toEqual({
    zai: { type: "api_key", key: "k" },
    "kimi-coder": {
      ...entry,
      access: second.access_token,
      refresh: second.refresh_token,
      expires: second.expires_at * 1000,
    },
  });
  expect(await world.kimiCli.read()).toEqual({ state: "absent" });
  expect(accessToken(await world.start().current())).toBe(second.access_token);
  logOutOfPi(world.authPath);
  expect(await restarted(world)).toBe("no-login");
});

test("while the owner's file is damaged the mirror is used until it ends or is rejected, and neither is changed", async () => {
  const { world, first, pi } = await loggedIn();
  await pi.current();
  await rest(world, pi);
  put(world.kimiCli.path, '{"access_tok');
  const other = world.start();
  expect(accessToken(await other.current())).toBe(first.access_token);
  expect(accessToken(await other.keepFresh())).toBe(first.access_token);
  expect(accessToken(await other.afterRejection("another token"))).toBe(first.access_token);
  expect(await other.afterRejection(first.access_token)).toMatchObject({
    reason: { kind: "problem", problem: { store: { path: world.kimiCli.path } } },
  });
  world.clock.advance(16 * MINUTE);
  expect(reason(await other.current())).toBe("problem");
  await rest(world, other);
  expect(world.service.log).toEqual([]);
  expect((await world.kimiCli.read()).state).toBe("malformed");
});

test("auth.json's lock is free while the token endpoint is asked, and no request waits for it", async () => {
  const { world } = await loggedIn(16 * MINUTE);
  mkdirSync(`${world.home}/.pi/agent`, { recursive: true });
  const { refresh, sent, answer } = lateAnswer(world);
  const pi = world.start({ refresh });
  const work = pi.current();
  await sent;
  const release = lockDirectorySync(world.authPath, 10_000); // by pi
  answer();
  expect(reason(await work)).toBe("ready");
  release();
  await expect.poll(() => pi.events, { timeout: 10_000 }).toEqual([{ kind: "mirrored" }]);
});

test.each([
  ["ELOCKED", []],
  ["EACCES", [{ kind: "unmirrored", code: "EACCES", path: "auth.json.lock" }]],
] as const)(
  "of an entry that %s keeps from being written is told what will not pass by itself",
  async (code, told) => {
    const { world } = await loggedIn();
    const pi = world.start({
      steps: { mirror: async () => ({ state: "failed", code, path: "auth.json.lock" }) },
    });
    await pi.current();
    await rest(world, pi);
    expect(pi.events).toEqual(told);
  },
);

test("an entry that cannot be written because our files have gone is told of, and the login works all the same", async () => {
  const { world, first } = await loggedIn();
  const gone = Object.assign(new Error("gone"), { code: "ERR_MODULE_NOT_FOUND" });
  const pi = world.start({ steps: { mirror: () => Promise.reject(gone) } });
  expect(accessToken(await pi.current())).toBe(first.access_token);
  expect(accessToken(await pi.current())).toBe(first.access_token);
  await rest(world, pi);
  expect(pi.events).toEqual(Array(2).fill({ kind: "unmirrored", code: "ERR_MODULE_NOT_FOUND" }));
});

test("a renewal that cannot even begin fails with the system's word, and the next one is begun anew", async () => {
  const { world, first } = await loggedIn(16 * MINUTE);
  const gone = Object.assign(new Error("gone"), { code: "ERR_MODULE_NOT_FOUND" });
  const pi = world.start({ steps: { takeLocks: () => Promise.reject(gone) } });
  const { path } = world.kimiCli;
  for (let i = 0; i < 2; i++) {
    expect(await pi.current()).toMatchObject({
      reason: { kind: "failed", cause: { kind: "lock", code: "ERR_MODULE_NOT_FOUND", path } },
    });
  }
  expect(pi.inFlight.renewals.size).toBe(0);
  expect(await world.kimiCli.read()).toEqual({ state: "present", token: asToken(first) });
});

test("the end of the process waits for a refresh that was sent and for its writes", async () => {
  const { world, first } = await loggedIn(16 * MINUTE);
  const { refresh, sent, answer } = lateAnswer(world);
  const pi = world.start({ refresh });
  void pi.current();
  await sent;
  const end = pi.end();
  answer();
  await world.drive(end);
  const { refresh_token } = newest(world, first);
  expect(readObject(world.kimiCli.path).refresh_token).toBe(refresh_token);
  await expect.poll(() => entryOf(world)).toMatchObject({ refresh: refresh_token });
});

test("a renewal that is due is begun and saved by a process that ends", async () => {
  const { world, first, pi } = await loggedIn(8 * MINUTE);
  await pi.current();
  await rest(world, pi);
  expect(presented(world)).toEqual([first.refresh_token]);
  expect(newest(world, first).refresh_token).not.toBe(first.refresh_token);
  expect(world.clock.sleeping()).toBe(0);
});

test("the end of a process with nothing under way takes no time, and no longer than that of pi's lock", async () => {
  const { world, pi } = await loggedIn();
  const before = world.clock.now();
  await pi.end();
  expect(world.clock.now()).toBe(before);
  mkdirSync(`${world.authPath}.lock`, { recursive: true });
  await pi.current();
  await world.drive(pi.end());
  expect(world.clock.now() - before).toBe(1_500);
});

test("pi's lock is not asked for where its entry is right", async () => {
  const { world, first, pi } = await loggedIn();
  await pi.current();
  await rest(world, pi);
  const release = lockDirectorySync(world.authPath, 10_000); // by pi
  const before = world.clock.now();
  expect(accessToken(await pi.current())).toBe(first.access_token);
  await world.drive(pi.end());
  expect(world.clock.now()).toBe(before);
  release();
});
