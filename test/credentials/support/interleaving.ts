/**
 * A home in which processes of ours, kimi-cli and the user meet in any order, and what must be true of it at every
 * moment whatever they do.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { lockFile } from "../../../extensions/credentials/flock.ts";
import { type Members, parseMembers } from "../../../extensions/credentials/json.ts";
import { recallSync } from "../../../extensions/credentials/memory.ts";
import type { LockOutcome } from "../../../extensions/credentials/store.ts";
import { needsRefresh } from "../../../extensions/oauth/token.ts";
import { createFakeClock, type FakeClock } from "../../support/fake-clock.ts";
import type { FaultAction, IssuedToken, KimiService } from "../../support/kimi-service/index.ts";
import { put } from "./homes.ts";
import { type SteppedProcess, startStepped } from "./stepped-process.ts";
import { asToken, logOutOfPi, putLogin, removeLogin, worldIn } from "./world.ts";

/** How long we hold kimi-cli's lock for an answer, ms: its own limit less the time for writing. */
const HOLDS = 4_300;

/** Entries of others in auth.json, in a hand nobody writes. */
const OTHERS = `{"zai" : {"type":"api_key",\t"key":"k\\u00e9y", "n": 1.0e2 },
  "anthropic":{  "type": "oauth","access":"a","refresh":"r","expires":1 ,"extra":[ 1,2 , {"x" : null}]}  }
`;

export type Work = "request" | "known request" | "check" | "rejection";

export interface Interleaving {
  readonly processes: readonly (SteppedProcess | undefined)[];
  start(slot: number): Promise<void>;
  begin(slot: number, work: Work): Promise<void>;
  step(slot: number, count: number): Promise<void>;
  run(slot: number): Promise<void>;
  kill(slot: number): Promise<void>;
  exit(slot: number): Promise<void>;
  sleep(ms: number): Promise<void>;
  loginInPi(slot: number): Promise<void>;
  logoutInPi(): Promise<void>;
  ownerLogsIn(): Promise<void>;
  ownerLogsOut(): Promise<void>;
  ownerRotates(): Promise<void>;
  serviceEndsLogin(): Promise<void>;
  breakNetwork(fault: FaultAction): void;
  breakDisk(broken: boolean): Promise<void>;
  /** Everything is repaired and comes to rest; then a process that starts anew has to find what is right. */
  end(): Promise<void>;
  /** Takes everything away that could reach into the next sequence. */
  bury(): Promise<void>;
  readonly tally: Readonly<Record<string, number>>;
}

export function interleavingIn(
  home: string,
  service: KimiService,
  setClock: (clock: FakeClock) => void,
  realFlock: boolean,
): Interleaving {
  const clock = createFakeClock();
  setClock(clock);
  const world = worldIn(home, clock, service);
  const { kimiCli, authPath, memoryPath } = world;
  const firstEntry = service.log.length;
  let logRead = firstEntry;
  const processes: (SteppedProcess | undefined)[] = [undefined, undefined, undefined];
  const all: SteppedProcess[] = [];
  const tally: Record<string, number> = {};
  const count = (what: string) => {
    tally[what] = (tally[what] ?? 0) + 1;
  };

  /** Refresh token → the first of its chain. */
  const chainOf = new Map<string, string>();
  /** Chains that may be dead, and why. */
  const excused = new Map<string, string>();
  /** Chains that Kimi itself has ended: dead, but no reason to present anything twice. */
  const ended = new Set<string>();
  const inFlight = new Map<string, SteppedProcess>();
  /** When each refresh token began to be presented, ms. */
  const presentedAt = new Map<string, number>();
  /** What each process has been told is dead. */
  const refused = new Map<SteppedProcess, Set<string>>();
  const repairs: (() => void)[] = [];
  let ownerAsks = false;
  let diskFails = false;
  let outOfPi = false;
  /** A new login after a logout in pi may be noticed, or be taken for a rotation. */
  let newSinceLogout = false;
  let others = membersOfOthers(OTHERS);
  put(authPath, OTHERS);

  const excuse = (refreshToken: string, why: string) => {
    excused.set(chainOf.get(refreshToken) ?? refreshToken, why);
    count(`excused: ${why}`);
  };
  const newLogin = (): IssuedToken => {
    const login = service.issueLogin();
    chainOf.set(login.refresh_token, login.refresh_token);
    return login;
  };

  let flockHeld = false;
  async function takeFlock(): Promise<LockOutcome> {
    if (realFlock) return lockFile(join(home, ".kimi/credentials/kimi-code.lock"), 0);
    if (flockHeld) return { state: "busy" };
    flockHeld = true;
    let mine = true;
    const release = async () => {
      if (mine) flockHeld = false;
      mine = false;
    };
    return { state: "held", release };
  }

  const around = {
    world,
    takeFlock,
    diskFails: () => diskFails,
    presenting(process: SteppedProcess, refreshToken: string) {
      count("presented");
      if (inFlight.has(refreshToken)) throw fault("two of us present one refresh token at once");
      if (refused.get(process)?.has(refreshToken)) throw fault("a refused token is presented again");
      inFlight.set(refreshToken, process);
      presentedAt.set(refreshToken, clock.now());
    },
    answered(process: SteppedProcess, refreshToken: string, state: string) {
      inFlight.delete(refreshToken);
      if (state !== "refused") return;
      const known = refused.get(process) ?? new Set();
      refused.set(process, known.add(refreshToken));
    },
  };

  /** Violations that happen inside of what is observed would be lost in its promises. */
  const violations: Error[] = [];
  function fault(what: string): Error {
    const error = new Error(what);
    violations.push(error);
    return error;
  }

  /** Until nothing goes on any more: whoever is left is stopped at a gate or asleep. */
  async function quiet(): Promise<void> {
    for (let idle = 0; idle < 3; idle++) {
      await new Promise(setImmediate);
      if (world.isBusy()) idle = -1;
      checkFiles();
    }
    readLog();
    checkLogin();
    const [violation] = violations;
    if (violation) throw violation;
  }

  function checkFiles(): void {
    for (const path of [kimiCli.path, memoryPath]) {
      if (existsSync(path)) JSON.parse(readFileSync(path, "utf8"));
    }
    const now = membersOfOthers(readFileSync(authPath, "utf8"));
    if (now !== others) throw new Error(`what others keep in auth.json has changed: ${now}`);
    if (outOfPi && !newSinceLogout && hasEntry()) throw new Error("a logout in pi was undone");
  }

  const hasEntry = () => parseMembers(readFileSync(authPath, "utf8"))?.has("kimi-coder") === true;

  /** What the service has seen since. */
  function readLog(): void {
    for (; logRead < service.log.length; logRead++) {
      const entry = service.log[logRead];
      const presented = entry?.refreshToken;
      if (!entry || presented === undefined) continue;
      const chain = chainOf.get(presented);
      if (chain === undefined) throw new Error("a refresh token of nobody was presented");
      if (entry.issued) chainOf.set(entry.issued.refresh_token, chain);
      const lost = entry.fault && "drop" in entry.fault && entry.fault.drop === "after";
      if (lost && entry.issued) excuse(presented, "answer lost");
      if (entry.reused) count("reused");
      if (entry.reused && !excused.has(chain)) throw new Error("a used refresh token was presented");
    }
  }

  /** Whether the login in kimi-cli's file lives, or has a reason to be dead. */
  function checkLogin(): void {
    if (!existsSync(kimiCli.path)) return;
    const refreshToken = String(JSON.parse(readFileSync(kimiCli.path, "utf8")).refresh_token);
    const chain = chainOf.get(refreshToken) ?? "";
    const alive = service.isLoginAlive(refreshToken);
    if (!alive && !excused.has(chain) && !ended.has(chain)) throw new Error("a login died");
  }

  async function present() {
    const found = await kimiCli.read();
    return found.state === "present" ? found.token : undefined;
  }

  const self: Interleaving = {
    processes,
    tally,
    async start(slot) {
      const process = startStepped(around);
      processes[slot] = process;
      all.push(process);
    },
    async begin(slot, work) {
      const process = processes[slot];
      if (work === "rejection") {
        const token = await present();
        if (!token) return;
        service.revokeAccessToken(token.accessToken);
        process?.begin((credential) => credential.afterRejection(token.accessToken));
      } else if (work === "check") process?.begin((credential) => credential.renewal());
      else process?.begin((credential) => credential.current(work === "known request"));
      await quiet();
    },
    async step(slot, steps) {
      for (let i = 0; i < steps && processes[slot]?.step(); i++) await quiet();
    },
    async run(slot) {
      for (let i = 0; i < 200 && processes[slot]?.step(); i++) await quiet();
    },
    async kill(slot) {
      const process = processes[slot];
      processes[slot] = undefined;
      if (!process) return;
      for (const token of process.unwritten) excuse(token, "killed");
      process.kill();
      for (const [token, by] of inFlight) if (by === process) inFlight.delete(token);
      await quiet();
    },
    async exit(slot) {
      const process = processes[slot];
      if (!process) return;
      process.run();
      await world.drive(process.credential.settle(15_000));
      await quiet();
      await self.kill(slot);
    },
    async sleep(ms) {
      const until = clock.now() + ms;
      // In strides, so that whoever waits looks at the world between them; a night is one long stride at its end.
      for (let i = 0; i < 40; i++) {
        const next = clock.next();
        if (next === undefined || clock.now() + next > until) break;
        clock.advance(Math.max(next, 1));
        await quiet();
      }
      if (clock.now() < until) clock.advance(until - clock.now());
      await quiet();
    },
    async loginInPi(slot) {
      const process = processes[slot];
      if (!process) return;
      const login = newLogin();
      const saved = await process.credential.saveLogin(asToken(login));
      if (saved.state !== "written") return;
      outOfPi = false;
      await world.piAuth.update(() => ({ token: asToken(login), owner: "kimi-cli", source: kimiCli.path }));
      await quiet();
    },
    async logoutInPi() {
      if (!hasEntry() || !recallSync(memoryPath).seeded) return;
      count("logouts in pi");
      const [entry, token] = [await world.piAuth.read(), await present()];
      logOutOfPi(authPath);
      others = membersOfOthers(readFileSync(authPath, "utf8"));
      outOfPi = true;
      // What kimi-cli did before, and nobody has seen yet, is seen after it.
      const known = entry.state === "oauth" ? chainOf.get(entry.token.refreshToken) : undefined;
      newSinceLogout = token !== undefined && chainOf.get(token.refreshToken) !== known;
      await quiet();
    },
    async ownerLogsIn() {
      putLogin(kimiCli.path, newLogin());
      newSinceLogout = true;
      await quiet();
    },
    async ownerLogsOut() {
      removeLogin(kimiCli.path);
      await quiet();
    },
    async ownerRotates() {
      // kimi-cli waits 5 to 11 s for its lock; that we never hold it that long is shown in renewal.test.ts.
      const lock = await takeFlock().catch(() => undefined);
      if (lock?.state !== "held") return;
      const token = await present();
      if (token && needsRefresh(token, clock.now())) {
        count("rotations by the owner");
        // An answer that took longer than we may hold the lock, until it is written: nothing can keep kimi-cli from
        // asking as well then.
        const since = presentedAt.get(token.refreshToken);
        if (since !== undefined && clock.now() - since >= HOLDS) excuse(token.refreshToken, "answer late");
        ownerAsks = true;
        const outcome = await world.refresh(token.refreshToken);
        ownerAsks = false;
        if (outcome.state === "refreshed") {
          const rotated = service.currentTokens(token.refreshToken);
          if (rotated) putLogin(kimiCli.path, rotated);
        }
      }
      await lock.release();
      await quiet();
    },
    async serviceEndsLogin() {
      const token = await present();
      if (!token) return;
      ended.add(chainOf.get(token.refreshToken) ?? token.refreshToken);
      count("ended by the service");
      service.revokeLogin(token.refreshToken);
      await quiet();
    },
    breakNetwork(action) {
      repairs.push(service.fault({ path: "token", do: action, when: () => !ownerAsks }));
    },
    async breakDisk(broken) {
      diskFails = broken;
    },
    async end() {
      diskFails = false;
      for (const repair of repairs) repair();
      const living = all.filter((process) => process.isAlive());
      for (const process of living) process.run();
      await world.drive(Promise.all(living.map((process) => process.pending())));
      await world.drive(Promise.all(living.map(({ credential }) => credential.settle(600_000))));
      await world.drive(clock.sleep(20_000));
      await quiet();
      for (const process of living) {
        if (process.unwritten.size > 0) throw new Error("a renewed login was not written");
      }
      await judge();
    },
    async bury() {
      for (const repair of repairs) repair();
      for (const process of all) {
        process.kill();
        await process.bury();
      }
    },
  };

  /** What a process finds that starts when all is quiet. */
  async function judge(): Promise<void> {
    const found = await kimiCli.read();
    const fresh = world.start();
    const access = await world.drive(fresh.renewal());
    await world.drive(fresh.settle(600_000));
    await quiet();
    const state = access.state === "ready" ? "ready" : access.reason.kind;
    count(`at the end: ${state}`);
    if (found.state !== "present") {
      if (state === "ready") throw new Error("a login appeared from nowhere");
      return;
    }
    if (outOfPi && (!newSinceLogout || state === "logged-out")) {
      if (state !== "logged-out") throw new Error(`after a logout in pi: ${state}`);
      return;
    }
    const current = service.currentTokens(found.token.refreshToken);
    if (!current) return; // ended or excused, or checkLogin would have spoken
    // Where a successor was lost, the token on disk is good until it ends, and not the newest.
    if (excused.has(chainOf.get(found.token.refreshToken) ?? "")) return;
    if (access.state !== "ready") throw new Error(`the login lives, but a new process says ${state}`);
    if (access.token.accessToken !== service.currentTokens(current.refresh_token)?.access_token) {
      throw new Error("a new process has an old token");
    }
    const entry = await world.piAuth.read();
    if (entry.state !== "oauth" || entry.token.accessToken !== access.token.accessToken) {
      throw new Error("pi's entry is not the login in use");
    }
    const lock = await kimiCli.lockAmongPi(0);
    if (lock.state !== "held") throw new Error("a lock was left behind");
    await lock.release();
    const flock = await takeFlock();
    if (flock.state !== "held") throw new Error("kimi-cli's lock was left behind");
    await flock.release();
  }

  return self;
}

/** The text of everybody's entries but ours. */
function membersOfOthers(auth: string): string {
  const members: Members | undefined = parseMembers(auth);
  if (!members) throw new Error("auth.json is not whole");
  return JSON.stringify([...members].filter(([name]) => name !== "kimi-coder"));
}
