import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { properLockfile } from "../../extensions/credentials/directory-lock.ts";
import { sighting } from "../../extensions/credentials/memory.ts";
import type { Mirror, PiAuth } from "../../extensions/credentials/pi-auth.ts";
import { readRotation } from "../../extensions/credentials/rotations.ts";
import type { Access } from "../../extensions/credentials/shared-credential.ts";
import type { LoginStore, StoredLogin } from "../../extensions/credentials/store.ts";
import type { IssuedToken } from "../support/kimi-service/index.ts";
import { put } from "./support/homes.ts";
import {
  asToken,
  deferred,
  logOutOfPi,
  type Process,
  putLogin,
  type Refresh,
  type RunningProcess,
  readObject,
  removeLogin,
  startWorld,
  type World,
} from "./support/world.ts";

const MINUTE = 60_000;

/** A world with kimi-cli's login, `age` ms old, and a process in it. */
async function loggedIn(age = 0, process: (world: World) => Process = () => ({})) {
  const world = await startWorld();
  const first = world.login(world.kimiCli);
  world.clock.advance(age);
  return { world, first, pi: world.start(process(world)) };
}

function accessToken(access: Access): string {
  if (access.state !== "ready") throw new Error(JSON.stringify(access.reason.kind));
  return access.token.accessToken;
}

function reason(access: Access): string {
  if (access.state === "ready") return "ready";
  expect(access.state).toBe("unavailable");
  return access.reason.kind;
}

function newest({ service }: World, login: IssuedToken): IssuedToken {
  const tokens = service.currentTokens(login.refresh_token);
  if (!tokens) throw new Error("the login is dead");
  return tokens;
}

/** Waits until this process has nothing under way, as pi does at the end of a session. */
async function rest(world: World, ...processes: RunningProcess[]): Promise<void> {
  for (const process of processes) await world.drive(process.settle(600_000));
}

function entryOf({ authPath }: World): unknown {
  return readObject(authPath)["kimi-coder"];
}

/** A refresh whose answer is late until the test lets it through. */
function held(world: World): { refresh: Refresh; answer: () => void } {
  const gate = deferred<void>();
  const refresh: Refresh = async (refreshToken) => {
    const outcome = await world.refresh(refreshToken);
    await gate.promise;
    return outcome;
  };
  return { refresh, answer: () => gate.resolve() };
}

async function atRequest({ service }: World): Promise<void> {
  await service.waitFor(({ kind, finished }) => kind === "refresh" && finished);
}

/** A piAuth whose file fails as long as `broken` says so, and a store likewise. */
function failing(store: LoginStore, broken: () => boolean): LoginStore {
  return {
    ...store,
    replace: async (replaces, token) =>
      broken() ? { state: "failed", code: "ENOSPC" } : store.replace(replaces, token),
  };
}

test("without any login there is none, and nothing is created", async () => {
  const world = await startWorld();
  const pi = world.start();
  expect(reason(await pi.current(false))).toBe("no-login");
  expect(reason(await pi.renewal())).toBe("no-login");
  await rest(world, pi);
  expect(world.service.log).toEqual([]);
  expect((await world.piAuth.read()).state).toBe("absent");
});

test("a valid login is used without a request, and mirrored with where it came from", async () => {
  const { world, first, pi } = await loggedIn();
  expect(accessToken(await pi.current(false))).toBe(first.access_token);
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

test("calls at the same time share one refresh", async () => {
  const { world, first, pi } = await loggedIn(16 * MINUTE);
  const calls = [
    pi.current(false),
    pi.current(true),
    pi.renewal(),
    pi.afterRejection(first.access_token),
    ...Array.from({ length: 20 }, () => pi.current(true)),
  ];
  const tokens = new Set((await world.drive(Promise.all(calls))).map(accessToken));
  expect(tokens).toEqual(new Set([newest(world, first).access_token]));
  expect(world.service.refreshes()).toHaveLength(1);
});

test("several processes share one refresh", async () => {
  const { world, first } = await loggedIn(16 * MINUTE);
  const processes = Array.from({ length: 16 }, () => world.start());
  const answers = await world.drive(Promise.all(processes.map((pi) => pi.current(false))));
  expect(new Set(answers.map(accessToken))).toEqual(new Set([newest(world, first).access_token]));
  await rest(world, ...processes);
  expect(world.service.refreshes()).toHaveLength(1);
  expect(entryOf(world)).toMatchObject({ refresh: newest(world, first).refresh_token });
});

test("a request with a valid token does not wait for its renewal", async () => {
  const { world, first, pi } = await loggedIn(8 * MINUTE);
  const hang = world.service.fault({ path: "token", do: { hang: true } });
  expect(accessToken(await pi.current(false))).toBe(first.access_token);
  expect(accessToken(await pi.current(true))).toBe(first.access_token);
  await world.service.waitFor(({ kind }) => kind === "refresh");
  expect(accessToken(await pi.current(true))).toBe(first.access_token);
  hang();
  await world.service.close();
});

test("a token endpoint that is down takes nothing from a valid token", async () => {
  const { world, first, pi } = await loggedIn(8 * MINUTE);
  world.service.fault({ path: "token", times: 99, do: { status: 503, body: "down" } });
  expect(accessToken(await world.drive(pi.renewal()))).toBe(first.access_token);
  expect(accessToken(await pi.current(true))).toBe(first.access_token);
  expect(accessToken(await pi.current(false))).toBe(first.access_token);
  world.clock.advance(8 * MINUTE);
  expect(await world.drive(pi.current(true))).toMatchObject({
    reason: { kind: "failed", cause: { kind: "status", status: 503 } },
  });
});

test("a login that was refused still gives its valid token, and is presented once", async () => {
  const { world, first, pi } = await loggedIn(8 * MINUTE);
  world.service.revokeLogin();
  expect(accessToken(await world.drive(pi.renewal()))).toBe(first.access_token);
  for (let i = 0; i < 5; i++) expect(accessToken(await pi.current(true))).toBe(first.access_token);
  world.clock.advance(8 * MINUTE);
  expect(reason(await world.drive(pi.current(true)))).toBe("refused");
  expect(reason(await world.drive(pi.renewal()))).toBe("refused");
  expect(world.service.refreshes()).toHaveLength(1);
});

test("a refused login is forgotten as soon as the owner has logged in again", async () => {
  const { world, pi } = await loggedIn(16 * MINUTE);
  world.service.revokeLogin();
  expect(reason(await world.drive(pi.current(false)))).toBe("refused");
  const second = world.login(world.kimiCli);
  expect(accessToken(await pi.current(false))).toBe(second.access_token);
});

test("requests whose token is rejected share one renewal", async () => {
  const { world, first, pi } = await loggedIn();
  await pi.current(false);
  const answers = await world.drive(
    Promise.all(Array.from({ length: 8 }, () => pi.afterRejection(first.access_token))),
  );
  const second = newest(world, first).access_token;
  expect(new Set(answers.map(accessToken))).toEqual(new Set([second]));
  expect(accessToken(await pi.afterRejection(first.access_token))).toBe(second);
  expect(world.service.refreshes()).toHaveLength(1);
});

test("a rejected token is not given out again where it cannot be renewed", async () => {
  const { world, first, pi } = await loggedIn();
  await pi.current(false);
  world.service.fault({ path: "token", times: 99, do: { status: 404, body: "" } });
  const calls = [1, 2, 3].map(() => pi.afterRejection(first.access_token));
  expect((await world.drive(Promise.all(calls))).map(reason)).toEqual(["failed", "failed", "failed"]);
  const asked = world.service.log.length;
  expect(reason(await world.drive(pi.afterRejection(first.access_token)))).toBe("failed");
  expect(world.service.log.length, "three share one renewal").toBe(2 * asked);
});

test("an old rejection is answered from memory", async () => {
  let looks = 0;
  const { world, first, pi } = await loggedIn(0, ({ kimiCli }) => ({
    kimiCli: {
      ...kimiCli,
      read() {
        looks += 1;
        return kimiCli.read();
      },
    },
  }));
  await pi.current(false);
  const second = accessToken(await world.drive(pi.afterRejection(first.access_token)));
  await rest(world, pi);
  const before = looks;
  expect(accessToken(await pi.afterRejection(first.access_token))).toBe(second);
  expect(accessToken(await pi.current(true))).toBe(second);
  await rest(world, pi);
  expect(looks).toBe(before);
});

test("a token pi has passed is renewed in time, without anybody waiting", async () => {
  const { world, first, pi } = await loggedIn();
  await pi.current(false);
  await rest(world, pi);
  world.clock.advance(8 * MINUTE);
  expect(accessToken(await pi.current(true))).toBe(first.access_token);
  await rest(world, pi);
  expect(accessToken(await pi.current(true))).toBe(newest(world, first).access_token);
  expect(world.service.refreshes()).toHaveLength(1);
});

test("a process that hears of a rejection later adopts what another has renewed", async () => {
  const { world, first, pi } = await loggedIn();
  const other = world.start();
  await Promise.all([pi.current(false), other.current(false)]);
  const second = accessToken(await world.drive(pi.afterRejection(first.access_token)));
  expect(accessToken(await world.drive(other.afterRejection(first.access_token)))).toBe(second);
  expect(world.service.refreshes()).toHaveLength(1);
});

test("a rejection is not answered by a check that began meanwhile and found nothing to do", async () => {
  const { world, first, pi } = await loggedIn();
  await pi.current(false);
  const check = pi.renewal();
  const next = check.then(() => pi.renewal());
  const renewed = pi.afterRejection(first.access_token);
  expect(accessToken(await world.drive(renewed))).toBe(newest(world, first).access_token);
  expect(world.service.refreshes()).toHaveLength(1);
  await next;
});

test("auth.json's lock is free while the token endpoint is asked", async () => {
  const { world, pi } = await loggedIn();
  await pi.current(false);
  await rest(world, pi);
  world.clock.advance(16 * MINUTE);
  const { refresh, answer } = held(world);
  const other = world.start({ refresh });
  const work = other.current(true);
  await atRequest(world);
  const release = properLockfile().lockSync(world.authPath);
  answer();
  expect(reason(await work)).toBe("ready"); // nor is it waited for: pi may hold it and wait for us
  release();
  await rest(world, other);
  expect(other.events).toEqual([{ kind: "mirrored" }]);
});

test("a login that cannot be written is used from memory, told of once, and written when it can be", async () => {
  let broken = true;
  const { world, first, pi } = await loggedIn(16 * MINUTE, ({ kimiCli }) => ({
    kimiCli: failing(kimiCli, () => broken),
  }));
  const other = world.start();
  const second = accessToken(await world.drive(pi.current(false)));
  expect(second).toBe(newest(world, first).access_token);
  expect(accessToken(await pi.current(true))).toBe(second);
  expect(accessToken(await pi.current(false))).toBe(second);
  expect(accessToken(await pi.renewal())).toBe(second);
  const waiting = other.current(false);
  world.clock.advance(30_000);
  await new Promise(setImmediate);
  broken = false;
  expect(accessToken(await world.drive(waiting))).toBe(second);
  expect(readObject(world.kimiCli.path).refresh_token).toBe(newest(world, first).refresh_token);
  expect(world.service.refreshes()).toHaveLength(1);
  expect(pi.events.filter(({ kind }) => kind === "unsaved")).toHaveLength(1);
  await rest(world, pi, other);
});

test("the old token on disk is not used again while the renewed one cannot be written", async () => {
  const { world, first, pi } = await loggedIn(8 * MINUTE, ({ kimiCli }) => ({
    kimiCli: failing(kimiCli, () => true),
  }));
  const second = accessToken(await world.drive(pi.renewal()));
  expect(second).not.toBe(first.access_token);
  expect(accessToken(await pi.current(false))).toBe(second);
  await rest(world, pi);
  expect(entryOf(world)).toMatchObject({ access: second });
});

test("a renewed login that cannot be written is tried again after longer and longer pauses", async () => {
  const tries: number[] = [];
  const { world, pi } = await loggedIn(16 * MINUTE, ({ kimiCli, clock }) => ({
    kimiCli: failing(kimiCli, () => tries.push(clock.now()) > 0),
  }));
  await world.drive(pi.current(false));
  await world.drive(world.clock.sleep(2 * MINUTE));
  // Three quick tries of the renewal itself come first.
  const since = tries.slice(3).map((at) => (at - Number(tries[3])) / 1_000);
  expect(since).toEqual([0, 1, 3, 7, 15, 31, 61, 91]);
  await rest(world, pi);
});

test("a renewed token that cannot be written and is rejected is no token", async () => {
  const { world, pi } = await loggedIn(16 * MINUTE, ({ kimiCli }) => ({
    kimiCli: failing(kimiCli, () => true),
  }));
  const second = accessToken(await world.drive(pi.current(false)));
  expect(await world.drive(pi.afterRejection(second))).toMatchObject({
    state: "unavailable",
    reason: { kind: "failed", cause: { kind: "write", code: "ENOSPC" } },
  });
  await rest(world, pi);
});

test("a full disk leaves the login as it is, and its token is used to the end", async () => {
  const { world, first, pi } = await loggedIn(8 * MINUTE, ({ kimiCli }) => ({
    kimiCli: { ...kimiCli, rehearse: async () => ({ state: "failed", code: "ENOSPC" }) },
  }));
  expect(accessToken(await world.drive(pi.renewal()))).toBe(first.access_token);
  world.clock.advance(8 * MINUTE);
  expect(await world.drive(pi.current(true))).toMatchObject({
    reason: { kind: "failed", cause: { kind: "write", code: "ENOSPC" } },
  });
  expect(world.service.log).toEqual([]);
  await rest(world, pi);
});

/** A process that could not write what it has renewed, and has ended. */
async function unwritten() {
  let broken = true;
  const { world, first, pi } = await loggedIn(16 * MINUTE, ({ kimiCli }) => ({
    kimiCli: failing(kimiCli, () => broken),
  }));
  const second = accessToken(await world.drive(pi.current(false)));
  await world.drive(pi.settle(15_000));
  expect(readObject(world.kimiCli.path).refresh_token).toBe(first.refresh_token);
  const start = () => world.start({ kimiCli: failing(world.kimiCli, () => broken) });
  return {
    world,
    first,
    second,
    start,
    repair: () => {
      broken = false;
    },
  };
}

test("what one process could not write, the next one writes at once, and presents nothing", async () => {
  const { world, first, second, start, repair } = await unwritten();
  repair();
  const next = start();
  const before = world.clock.now();
  expect(accessToken(await next.current(true))).toBe(second);
  expect(world.clock.now()).toBe(before);
  expect(readObject(world.kimiCli.path).refresh_token).toBe(newest(world, first).refresh_token);
  await rest(world, next);
  expect(entryOf(world)).toMatchObject({ access: second });
  expect(entryOf(world)).not.toHaveProperty("replaces");
  expect(world.service.refreshes()).toHaveLength(1);
});

test.each<[string, (mirror: Mirror) => Mirror | "leave"]>([
  ["pi has no entry", () => "leave"],
  // A pi that knows nothing of it would take the file's for the newest, and present what is used up.
  ["pi's entry does not say what it replaces", (mirror) => ({ ...mirror, replaces: undefined })],
  [
    "pi's entry is another login's",
    (mirror) => ({ ...mirror, token: { ...mirror.token, refreshToken: "another" } }),
  ],
])("the locks of a login that could not be written are kept where %s", async (_, written) => {
  const { world, pi } = await loggedIn(16 * MINUTE, ({ kimiCli, piAuth }) => ({
    kimiCli: failing(kimiCli, () => true),
    piAuth: {
      ...piAuth,
      update: (change) =>
        piAuth.update((entry) => {
          const next = change(entry);
          return next === "leave" ? next : written(next);
        }),
    },
  }));
  await world.drive(pi.current(false));
  await world.drive(pi.settle(15_000));
  expect(await world.kimiCli.lockAmongPi(0)).toEqual({ state: "busy" });
});

test("while it still cannot be written, the next process uses it all the same", async () => {
  const { world, first, second, start, repair } = await unwritten();
  const next = start();
  expect(accessToken(await world.drive(next.current(false)))).toBe(second);
  expect(accessToken(await world.drive(next.afterRejection("another token")))).toBe(second);
  await world.drive(next.settle(15_000));
  expect(entryOf(world)).toMatchObject({ access: second, replaces: expect.any(String) });
  repair();
  const last = start();
  world.clock.advance(8 * MINUTE);
  await world.drive(last.renewal());
  await rest(world, last);
  expect(readObject(world.kimiCli.path).refresh_token).toBe(newest(world, first).refresh_token);
  expect(world.service.refreshes()).toHaveLength(2);
  expect(world.service.reusedRefreshTokens()).toBe(0);
});

test("a login that still cannot be written when its token ends is not passed off as good", async () => {
  const { world, pi } = await loggedIn(16 * MINUTE, ({ kimiCli }) => ({
    kimiCli: failing(kimiCli, () => true),
  }));
  expect(reason(await world.drive(pi.current(false)))).toBe("ready");
  world.clock.advance(16 * MINUTE);
  expect(await pi.current(true)).toMatchObject({ reason: { kind: "failed", cause: { code: "ENOSPC" } } });
  expect(reason(await pi.renewal())).toBe("failed");
  expect(world.service.refreshes()).toHaveLength(1);
  await rest(world, pi);
});

test("when kimi-cli logs out, its login is not created again and no longer used after the next check", async () => {
  const { world, pi } = await loggedIn();
  await pi.current(false);
  await rest(world, pi);
  removeLogin(world.kimiCli.path);
  expect(reason(await pi.renewal())).toBe("problem");
  expect(reason(await pi.current(true))).toBe("problem");
  expect(reason(await world.start().current(false))).toBe("problem");
  await rest(world, pi);
  expect(await world.kimiCli.read()).toEqual({ state: "absent" });
});

test("when kimi-cli logs out during a refresh, the login ends there", async () => {
  const { world } = await loggedIn(16 * MINUTE);
  const { refresh, answer } = held(world);
  const pi = world.start({ refresh });
  const work = pi.current(false);
  await atRequest(world);
  removeLogin(world.kimiCli.path);
  answer();
  expect(reason(await work)).toBe("problem");
  expect(await world.kimiCli.read()).toEqual({ state: "absent" });
});

test("a new login by kimi-cli during a refresh is what is used and mirrored", async () => {
  const { world } = await loggedIn(16 * MINUTE);
  const { refresh, answer } = held(world);
  const pi = world.start({ refresh });
  const work = pi.current(false);
  await atRequest(world);
  const second = world.login(world.kimiCli);
  answer();
  expect(accessToken(await work)).toBe(second.access_token);
  await rest(world, pi);
  expect(entryOf(world)).toMatchObject({ refresh: second.refresh_token });
});

/** Logged out in pi after a session. */
async function loggedOut() {
  const { world, first, pi } = await loggedIn();
  await pi.current(false);
  await rest(world, pi);
  logOutOfPi(world.authPath);
  return { world, first };
}

/** What a pi that starts now makes of it. */
async function restarted(world: World): Promise<string> {
  const pi = world.start();
  const access = await world.drive(pi.renewal());
  await rest(world, pi);
  return reason(access);
}

test("a logout in pi outlives restarts and the owner's rotations", async () => {
  const { world, first } = await loggedOut();
  expect(await restarted(world)).toBe("logged-out");
  for (let i = 0; i < 4; i++) {
    world.clock.advance(8 * MINUTE);
    await world.refresh(newest(world, first).refresh_token); // by kimi-cli
    putLogin(world.kimiCli.path, newest(world, first));
    expect(await restarted(world)).toBe("logged-out");
  }
  expect(entryOf(world)).toBe(undefined);
});

test("a new login in kimi-cli ends a logout in pi, also when kimi-cli had logged out in between", async () => {
  const { world } = await loggedOut();
  removeLogin(world.kimiCli.path);
  expect(await restarted(world)).toBe("no-login");
  world.clock.advance(60 * MINUTE);
  const second = world.login(world.kimiCli);
  expect(await restarted(world)).toBe("ready");
  expect(entryOf(world)).toMatchObject({ refresh: second.refresh_token });
});

test("a new login in kimi-cli is noticed also when its token has ended by then", async () => {
  const { world } = await loggedOut();
  const second = world.login(world.kimiCli);
  world.clock.advance(16 * MINUTE);
  expect(await restarted(world)).toBe("ready");
  expect(entryOf(world)).toMatchObject({ refresh: newest(world, second).refresh_token });
});

test("a logout in pi while a rejected token is being renewed is not undone by that renewal", async () => {
  const { world, first, pi } = await loggedIn();
  await pi.current(false);
  await rest(world, pi);
  const { refresh, answer } = held(world);
  const other = world.start({ refresh });
  world.clock.advance(MINUTE);
  const work = other.afterRejection(first.access_token);
  await atRequest(world);
  logOutOfPi(world.authPath);
  answer();
  await work;
  await rest(world, other);
  expect(entryOf(world)).toBe(undefined);
  expect(await restarted(world)).toBe("logged-out");
});

test("a logout in pi while another pi waits to seed its entry is not undone by that", async () => {
  const { world } = await loggedIn(16 * MINUTE);
  const { refresh, answer } = held(world);
  const slow = world.start({ refresh });
  const work = slow.current(false);
  await atRequest(world);
  const second = world.login(world.kimiCli);
  const quick = world.start();
  expect(accessToken(await quick.current(false))).toBe(second.access_token);
  await rest(world, quick);
  logOutOfPi(world.authPath);
  answer();
  await work;
  await rest(world, slow);
  expect(entryOf(world)).toBe(undefined);
  expect(await restarted(world)).toBe("logged-out");
});

test("a logout in pi the moment its entry has taken a new login over is not undone", async () => {
  const { world, pi } = await loggedIn();
  await pi.current(false);
  await rest(world, pi);
  world.login(world.kimiCli);
  let meanwhile: string | undefined;
  const watched: PiAuth = {
    ...world.piAuth,
    async update(change) {
      const outcome = await world.piAuth.update(change);
      logOutOfPi(world.authPath);
      meanwhile ??= await restarted(world);
      return outcome;
    },
  };
  const other = world.start({ piAuth: watched });
  await other.current(false);
  await rest(world, other);
  expect(meanwhile).toBe("logged-out");
  expect(entryOf(world)).toBe(undefined);
});

test("a logout in pi is respected even if the memory was lost while pi was in use", async () => {
  const { world, pi } = await loggedIn();
  await pi.current(false);
  await rest(world, pi);
  rmSync(world.memoryPath);
  expect(await restarted(world)).toBe("ready");
  logOutOfPi(world.authPath);
  expect(await restarted(world)).toBe("logged-out");
});

test("a login made in pi is saved for kimi-cli, whatever else is there", async () => {
  const { world } = await loggedOut();
  world.login(world.kimiCode);
  const second = asToken(world.service.issueLogin());
  const pi = world.start();
  expect(await pi.saveLogin(second)).toEqual({ state: "written" });
  expect(await world.kimiCli.read()).toEqual({ state: "present", token: second });
  expect(accessToken(await pi.current(true))).toBe(second.accessToken);
  expect(pi.expiresAt()).toBe(second.expiresAt);
});

test("a login made in pi is remembered at once, so that a logout is one", async () => {
  const world = await startWorld();
  const { saveLogin } = world.start();
  world.login(world.kimiCode);
  const token = asToken(world.service.issueLogin());
  await saveLogin(token);
  expect(readObject(world.memoryPath)).toEqual({
    seeded: true,
    seen: { [world.kimiCli.path]: sighting(token) },
  });
  const again = asToken(world.service.issueLogin());
  writeFileSync(world.memoryPath, JSON.stringify({ seeded: true, seen: { [world.kimiCode.path]: "gone" } }));
  await saveLogin(again);
  expect(readObject(world.memoryPath)).toEqual({
    seeded: true,
    seen: { [world.kimiCode.path]: "gone", [world.kimiCli.path]: sighting(again) },
  });
});

test("a look says what would be used, and changes nothing", async () => {
  const { world, first, pi } = await loggedIn(16 * MINUTE);
  expect(await pi.look()).toMatchObject({ state: "use", token: asToken(first), seed: true });
  expect(pi.expiresAt()).toBeUndefined();
  expect((await world.piAuth.read()).state).toBe("absent");
  expect(world.service.log).toEqual([]);
});

test("it is noted who renewed a login, but not who found it renewed", async () => {
  const { world, first } = await loggedIn(16 * MINUTE);
  const { rotationsPath } = world;
  const [one, other] = [world.start(), world.start()];
  const noted = () => readRotation(rotationsPath, world.kimiCli.path, asToken(newest(world, first)));
  const at = world.clock.now();
  await world.drive(one.current(false));
  await rest(world, one);
  expect(noted()).toMatchObject({ how: "renewed", at, pid: process.pid });
  rmSync(rotationsPath);
  await world.drive(other.renewal());
  await rest(world, other);
  expect(noted()).toBeUndefined();
});

test("it is noted who renewed a login also where it cannot be written", async () => {
  const { world, first, pi } = await loggedIn(16 * MINUTE, ({ kimiCli }) => ({
    kimiCli: failing(kimiCli, () => true),
  }));
  await world.drive(pi.current(false));
  await rest(world, pi);
  expect(readRotation(world.rotationsPath, world.kimiCli.path, asToken(newest(world, first)))).toMatchObject({
    how: "renewed",
  });
});

test("it is noted who logged in", async () => {
  const world = await startWorld();
  const token = asToken(world.service.issueLogin());
  await world.start().saveLogin(token);
  const noted = readRotation(world.rotationsPath, world.kimiCli.path, token);
  expect(noted).toMatchObject({ how: "logged-in", at: world.clock.now(), pid: process.pid });
});

test("a login made in pi is not overwritten by a refresh of the one before", async () => {
  const { world } = await loggedIn(16 * MINUTE);
  const { refresh, answer } = held(world);
  const pi = world.start({ refresh });
  const work = pi.current(false);
  await atRequest(world);
  const second = asToken(world.service.issueLogin());
  expect(await pi.saveLogin(second)).toEqual({ state: "written" });
  answer();
  expect(accessToken(await work)).toBe(second.accessToken);
  await rest(world, pi);
  expect(await world.kimiCli.read()).toEqual({ state: "present", token: second });
});

test("a login made in pi for another store is not undone by a refresh under way", async () => {
  const { world, pi: early } = await loggedIn();
  await early.current(false);
  await rest(world, early);
  world.clock.advance(8 * MINUTE);
  const { refresh, answer } = held(world);
  const pi = world.start({ refresh });
  const work = pi.renewal();
  await atRequest(world);
  const other = world.login(world.kimiCode);
  await pi.saveLogin(asToken(other), world.kimiCode);
  const entry = {
    type: "oauth",
    access: other.access_token,
    refresh: other.refresh_token,
    expires: other.expires_at * 1000,
    owner: "kimi-code",
    source: world.kimiCode.path,
  };
  writeFileSync(world.authPath, JSON.stringify({ "kimi-coder": entry })); // by pi
  answer();
  expect(accessToken(await work)).toBe(other.access_token);
  await rest(world, pi);
  expect(entryOf(world)).toEqual(entry);
  expect(accessToken(await pi.current(true))).toBe(other.access_token);
});

test("a login made in pi that cannot be saved is reported, and the old one stays", async () => {
  const { world, first } = await loggedIn();
  const kimiCli: LoginStore = { ...world.kimiCli, save: async () => ({ state: "failed", code: "EROFS" }) };
  const pi = world.start({ kimiCli });
  expect(await pi.saveLogin(asToken(world.service.issueLogin()))).toEqual({ state: "failed", code: "EROFS" });
  expect(pi.expiresAt()).toBeUndefined();
  expect(accessToken(await pi.current(false))).toBe(first.access_token);
});

test("with both homes, the entry's own is used although the other is valid longer", async () => {
  const { world, first, pi } = await loggedIn();
  await pi.current(false);
  await rest(world, pi);
  world.clock.advance(MINUTE);
  world.login(world.kimiCode);
  expect(accessToken(await world.start().current(false))).toBe(first.access_token);
});

test("with both homes and no entry yet, the one that is valid longest is used, and stays", async () => {
  const { world, pi } = await loggedIn(MINUTE);
  const code = world.login(world.kimiCode);
  expect(accessToken(await pi.current(false))).toBe(code.access_token);
  await rest(world, pi);
  expect(entryOf(world)).toMatchObject({ owner: "kimi-code", source: world.kimiCode.path });
  world.clock.advance(16 * MINUTE);
  const cli = world.login(world.kimiCli);
  const later = world.start();
  expect(accessToken(await world.drive(later.current(false)))).toBe(newest(world, code).access_token);
  await rest(world, later);
  expect(await world.kimiCli.read()).toEqual({ state: "present", token: asToken(cli) });
});

test("while the owner's file is damaged the mirror is used until it ends, and neither is changed", async () => {
  const { world, first, pi } = await loggedIn();
  await pi.current(false);
  await rest(world, pi);
  put(world.kimiCli.path, '{"access_tok');
  const other = world.start();
  expect(accessToken(await other.current(false))).toBe(first.access_token);
  world.clock.advance(16 * MINUTE);
  expect(reason(await other.current(false))).toBe("problem");
  await rest(world, other);
  expect(world.service.log).toEqual([]);
  expect((await world.kimiCli.read()).state).toBe("malformed");
});

test("a mirror that the API has rejected is used no more", async () => {
  const { world, first, pi } = await loggedIn();
  await pi.current(false);
  await rest(world, pi);
  put(world.kimiCli.path, '{"access_tok');
  const other = world.start();
  expect(accessToken(await other.renewal("another token"))).toBe(first.access_token);
  expect(await other.afterRejection(first.access_token)).toMatchObject({
    state: "unavailable",
    reason: { kind: "problem", problem: { store: { path: world.kimiCli.path } } },
  });
});

test.each<StoredLogin>([
  { state: "malformed", reason: "is torn" },
  { state: "unreadable", code: "EIO" },
])("a file that is $state between two looks does not take a valid token away", async (damage) => {
  let looks = 0;
  const { world, first, pi } = await loggedIn(8 * MINUTE, ({ kimiCli }) => ({
    kimiCli: {
      ...kimiCli,
      read: async () => (++looks === 2 ? damage : kimiCli.read()),
    },
  }));
  expect(accessToken(await pi.renewal())).toBe(first.access_token);
  await rest(world, pi);
});

test("a login that goes between two looks is gone, however long its token would be valid", async () => {
  let looks = 0;
  const { world, pi } = await loggedIn(8 * MINUTE, ({ kimiCli }) => ({
    kimiCli: {
      ...kimiCli,
      read: async () => (++looks > 1 ? { state: "absent" } : kimiCli.read()),
    },
  }));
  expect(await pi.renewal()).toMatchObject({
    state: "unavailable",
    reason: { kind: "problem", problem: { store: { path: world.kimiCli.path }, found: { state: "absent" } } },
  });
  expect(pi.expiresAt()).toBeUndefined();
  await rest(world, pi);
});

test("a key of the user's own in auth.json is left alone, and so is the login", async () => {
  const { world, pi } = await loggedIn(16 * MINUTE);
  const text = '{"kimi-coder":{"type":"api_key","key":"mine"}}';
  put(world.authPath, text);
  expect(reason(await pi.current(false))).toBe("own-key");
  expect(reason(await pi.renewal())).toBe("own-key");
  expect(world.service.log).toEqual([]);
});

test("a process that read an older token does not put it back over the mirror of a newer one", async () => {
  const { world, first } = await loggedIn(8 * MINUTE);
  const gate = deferred<void>();
  const late: PiAuth = {
    ...world.piAuth,
    update: async (change) => {
      await gate.promise;
      return world.piAuth.update(change);
    },
  };
  const refresh: Refresh = async () => ({
    state: "failed",
    cause: { kind: "status", status: 404 },
    committed: "no",
  });
  const slow = world.start({ piAuth: late, refresh });
  expect(accessToken(await slow.current(false))).toBe(first.access_token);
  const quick = world.start();
  await world.drive(quick.renewal());
  await rest(world, quick);
  gate.resolve();
  await rest(world, slow);
  expect(entryOf(world)).toMatchObject({ refresh: newest(world, first).refresh_token });
});

test("an auth.json that cannot be written is told of, and the login works all the same", async () => {
  const { world, first, pi } = await loggedIn();
  put(world.authPath, "{ damaged");
  expect(accessToken(await pi.current(false))).toBe(first.access_token);
  await rest(world, pi);
  expect(pi.events).toEqual([{ kind: "unmirrored", code: "EBADMSG" }]);
});

test("an auth.json that pi keeps locked is nothing to be told of, and is written at the next check", async () => {
  let locked = true;
  const { world, first, pi } = await loggedIn(0, ({ piAuth }) => ({
    piAuth: {
      ...piAuth,
      update: async (change) => (locked ? { state: "failed", code: "ELOCKED" } : piAuth.update(change)),
    },
  }));
  await pi.renewal();
  await rest(world, pi);
  expect(pi.events).toEqual([]);
  locked = false;
  await pi.renewal();
  await rest(world, pi);
  expect(entryOf(world)).toMatchObject({ access: first.access_token });
});

test("settling waits for a refresh that was sent and for its writes", async () => {
  const { world, first } = await loggedIn(8 * MINUTE);
  const { refresh, answer } = held(world);
  const pi = world.start({ refresh });
  await pi.current(false);
  await atRequest(world);
  const end = pi.settle(15_000);
  answer();
  await end;
  const { refresh_token } = newest(world, first);
  expect(readObject(world.kimiCli.path).refresh_token).toBe(refresh_token);
  expect(entryOf(world)).toMatchObject({ refresh: refresh_token });
});

test("a process that ends repeats no refresh that has failed", async () => {
  const { world } = await loggedIn(16 * MINUTE);
  const gate = deferred<void>();
  let presented = 0;
  const refresh: Refresh = async () => {
    presented += 1;
    await gate.promise;
    return { state: "failed", cause: { kind: "status", status: 503 }, committed: "no" };
  };
  const pi = world.start({ refresh });
  const work = pi.renewal();
  while (presented === 0) await new Promise(setImmediate);
  const end = pi.settle(15_000);
  gate.resolve();
  await end;
  expect(reason(await work)).toBe("failed");
  expect(presented).toBe(1);
});

test("settling is bounded, and what comes later is still written", async () => {
  const { world, first } = await loggedIn(8 * MINUTE);
  const { refresh, answer } = held(world);
  const pi = world.start({ refresh });
  await pi.current(false);
  await atRequest(world);
  const before = world.clock.now();
  await world.drive(pi.settle(15_000));
  expect(world.clock.now() - before).toBe(15_000);
  answer();
  await rest(world, pi);
  expect(readObject(world.kimiCli.path).refresh_token).toBe(newest(world, first).refresh_token);
});

test("settling with nothing under way, or with a disk that is full, takes no time", async () => {
  const { world, pi } = await loggedIn(16 * MINUTE, ({ kimiCli }) => ({
    kimiCli: failing(kimiCli, () => true),
  }));
  const idle = world.start();
  const before = world.clock.now();
  await idle.settle(15_000);
  expect(world.clock.now()).toBe(before);
  await world.drive(pi.current(false));
  const later = world.clock.now();
  await pi.settle(15_000);
  expect(world.clock.now()).toBe(later);
});

test("what others keep in auth.json survives to the byte", async () => {
  const { world, pi } = await loggedIn();
  const others = '"zai": {"type":"api_key",   "key": "k\\u00e9y" , "n": 1.0e2}';
  put(world.authPath, `{ ${others} }\n`);
  await pi.current(false);
  await rest(world, pi);
  expect(readFileSync(world.authPath, "utf8")).toContain(others);
});
