/**
 * A home in which processes of ours, kimi-cli and the user meet in any order, and what must be true of it at every
 * moment whatever they do.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { hadEntry } from "../../../extensions/credentials/pi-entry.ts";
import { reserveLogin } from "../../../extensions/credentials/successor.ts";
import { type Members, parseMembers } from "../../../extensions/lib/json.ts";
import type { RefreshOutcome } from "../../../extensions/oauth/token-endpoint.ts";
import { createFakeClock, type FakeClock } from "../../support/fake-clock.ts";
import type { FaultAction, IssuedToken, KimiService } from "../../support/kimi-service/index.ts";
import { asToken } from "../../support/world.ts";
import { put } from "./homes.ts";
import { LockTable } from "./lock-table.ts";
import { renewAsKimiCli } from "./simulated-kimi-cli.ts";
import { type Disk, type SteppedProcess, type Surroundings, startStepped } from "./stepped-process.ts";
import { logOutOfPi, putLogin, readObject, removeLogin, worldIn } from "./world.ts";

/** How long kimi-cli waits between two tries for its lock, ms. */
const OWNER_PAUSES = { quick: 1_000, slow: 2_200 };
/** How long a request may wait for its token, ms awake. */
const LONGEST_WAIT = 30_000;
/** Presentations of one refresh token by one process whose answers were lost, until it rests for `REST` ms. */
const MOST_LOST = 2;
const REST = 30_000;

/** Entries of others in auth.json, in a hand nobody writes. */
const OTHERS = `{"zai" : {"type":"api_key",\t"key":"k\\u00e9y", "n": 1.0e2 },
  "anthropic":{  "type": "oauth","access":"a","refresh":"r","expires":1 ,"extra":[ 1,2 , {"x" : null}]}  }
`;

export type Work = "request" | "check" | "rejection";
export type Patience = keyof typeof OWNER_PAUSES;

/** How long a refresh is under way before the server commits it, and then its answer, ms. */
export interface Latency {
  readonly before: number;
  readonly after: number;
}

export interface Interleaving {
  start(slot: number, isFree: boolean): Promise<void>;
  begin(slot: number, work: Work): Promise<void>;
  step(slot: number, count: number): Promise<void>;
  /** Until it has sent a refresh, or waits for something. */
  stepUntilSent(slot: number): Promise<void>;
  run(slot: number): Promise<void>;
  stop(slot: number): Promise<void>;
  proceed(slot: number): Promise<void>;
  kill(slot: number): Promise<void>;
  signal(slot: number): Promise<void>;
  exit(slot: number): Promise<void>;
  replaceSession(slot: number): Promise<void>;
  sleep(ms: number): Promise<void>;
  /** The whole machine: whoever waits has not been awake. */
  machineSleeps(ms: number): Promise<void>;
  loginInPi(slot: number): Promise<void>;
  logoutInPi(): Promise<void>;
  ownerLogsIn(): Promise<void>;
  ownerLogsOut(): Promise<void>;
  ownerRotates(patience: Patience): Promise<void>;
  serviceEndsLogin(): Promise<void>;
  breakNetwork(fault: FaultAction): void;
  /** So long take the next `count` refreshes. */
  slow(latency: Latency, count: number): void;
  breakDisk(disk: Disk): void;
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
  const locks = new LockTable(realFlock);
  const lockPaths = kimiCli.locks.map(({ path }) => path);
  let logRead = service.log.length;
  const processes: (SteppedProcess | undefined)[] = [undefined, undefined, undefined];
  const all: SteppedProcess[] = [];
  /** What goes on beside the processes: kimi-cli's renewals, and requests on their way. */
  const beside = new Set<Promise<unknown>>();
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
  /** Who of ours presents a refresh token now. */
  const presenting = new Map<string, SteppedProcess>();
  /** What kimi-cli presents, until it has written, and for each of its processes whether it holds its lock. */
  const ownerPresents = new Map<string, boolean[]>();
  /** What each process has been told is dead, and how often it lost an answer. */
  const refused = new Map<SteppedProcess, Set<string>>();
  const lost = new Map<SteppedProcess, Map<string, { readonly times: number; readonly last: number }>>();
  const repairs: (() => void)[] = [];
  const latencies: Latency[] = [];
  let disk: Disk = "works";
  let outOfPi = false;
  /** The chain that the last login, or kimi-cli, has put into kimi-cli's file; undefined after its logout. */
  let inUse: string | undefined;
  let others = membersOfOthers(OTHERS);
  put(authPath, OTHERS);

  const excuse = (refreshToken: string, why: string) => {
    excused.set(chainOf.get(refreshToken) ?? refreshToken, why);
    count(`excused: ${why}`);
  };
  const newLogin = (): IssuedToken => {
    const login = service.issueLogin();
    chainOf.set(login.refresh_token, login.refresh_token);
    inUse = login.refresh_token;
    return login;
  };
  function goesOn<T>(work: Promise<T>): Promise<T> {
    beside.add(work);
    const over = () => beside.delete(work);
    work.then(over, over);
    return work;
  }

  async function send(refreshToken: string): Promise<RefreshOutcome> {
    const { before, after } = latencies.shift() ?? { before: 0, after: 0 };
    if (before > 0) await clock.sleep(before);
    const outcome = await world.refresh(refreshToken);
    if (after > 0) await clock.sleep(after);
    return outcome;
  }

  const around: Surroundings = {
    world,
    locks,
    disk: () => disk,
    send: (refreshToken) => goesOn(send(refreshToken)),
    presenting(process, refreshToken) {
      count("presented");
      if (!process.mayPresent()) violated("a process that is to end presents a refresh token");
      if (presenting.has(refreshToken)) violated("two of us present one refresh token at once");
      if (refused.get(process)?.has(refreshToken)) violated("a refused token is presented again");
      const before = lost.get(process)?.get(refreshToken);
      if (before && before.times >= MOST_LOST) {
        if (clock.now() - before.last < REST)
          violated("a token lost twice is presented again before it has rested");
        lost.get(process)?.delete(refreshToken);
      }
      const theirs = ownerPresents.get(refreshToken) ?? [];
      if (theirs.includes(false)) excuse(refreshToken, "kimi-cli without lock, before us");
      else if (theirs.includes(true)) violated("kimi-cli presents this refresh token, and holds its lock");
      presenting.set(refreshToken, process);
    },
    answered(process, refreshToken, outcome) {
      count(`answered: ${outcome.state}`);
      presenting.delete(refreshToken);
      if (outcome.state === "refused") {
        refused.set(process, (refused.get(process) ?? new Set()).add(refreshToken));
      } else if (outcome.state === "failed" && outcome.committed === "unknown") {
        const known = lost.get(process) ?? new Map();
        const times = (known.get(refreshToken)?.times ?? 0) + 1;
        lost.set(process, known.set(refreshToken, { times, last: clock.now() }));
      }
    },
    unwritable: () => count("failed writes"),
    waited(ms) {
      count("requests that ran freely");
      if (ms > LONGEST_WAIT) violated(`a request waited ${ms} ms`);
    },
    ended(process, unwritten, how) {
      count(`ended: ${how}`);
      for (const [token, by] of presenting) if (by === process) presenting.delete(token);
      for (const token of unwritten) {
        if (how === "killed" || how === "gave up") excuse(token, how);
        else violated(`a process ended (${how}) before what it was given was written`);
      }
    },
  };

  /** Violations that happen inside of what is observed would be lost in its promises. */
  const violations: Error[] = [];
  function violated(what: string): void {
    violations.push(new Error(what));
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
    if (outOfPi && hasEntry()) throw new Error("a logout in pi was undone");
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
      const isLost = entry.fault && "drop" in entry.fault && entry.fault.drop === "after";
      if (isLost && entry.issued) excuse(presented, "answer lost");
      if (entry.reused) count("reused");
      if (entry.reused && !excused.has(chain)) throw new Error("a used refresh token was presented");
    }
  }

  /** Whether the login in kimi-cli's file lives, or has a reason to be dead. */
  function checkLogin(): void {
    if (!existsSync(kimiCli.path)) return;
    const refreshToken = String(readObject(kimiCli.path).refresh_token);
    const chain = chainOf.get(refreshToken) ?? "";
    if (chain !== inUse) throw new Error("a login came back that was replaced, or logged out");
    const alive = service.isLoginAlive(refreshToken);
    if (!alive && !excused.has(chain) && !ended.has(chain)) throw new Error("a login died");
  }

  async function present() {
    const found = await kimiCli.read();
    return found.state === "present" ? found.token : undefined;
  }

  /** Told what kimi-cli presents, until it has written. */
  function ownerPresenting(refreshToken: string, isLocked: boolean): (written: string | undefined) => void {
    count(isLocked ? "rotations by kimi-cli" : "kimi-cli went on without its lock");
    const withThem = ownerPresents.get(refreshToken) ?? [];
    if (withThem.length > 0) excuse(refreshToken, "kimi-cli beside kimi-cli");
    const isOurs = all.some(({ unwritten }) => unwritten.has(refreshToken)) || presenting.has(refreshToken);
    if (!isLocked && isOurs) excuse(refreshToken, "kimi-cli without lock, after us");
    ownerPresents.set(refreshToken, [...withThem, isLocked]);
    return (written) => {
      if (written !== undefined) inUse = chainOf.get(refreshToken);
      const left = ownerPresents.get(refreshToken) ?? [];
      ownerPresents.set(refreshToken, left.toSpliced(left.indexOf(isLocked), 1));
    };
  }

  const living = () => all.filter((process) => process.isAlive());
  /** pi writes auth.json anew, in its own hand. */
  function baseline(): void {
    others = membersOfOthers(readFileSync(authPath, "utf8"));
  }

  const self: Interleaving = {
    tally,
    async start(slot, isFree) {
      const process = startStepped(around);
      if (isFree) process.run();
      processes[slot] = process;
      all.push(process);
      await quiet();
    },
    async begin(slot, work) {
      const process = processes[slot];
      if (work === "rejection") {
        const token = await present();
        if (!token) return;
        service.revokeAccessToken(token.accessToken);
        process?.begin((login) => login.afterRejection(token.accessToken), true);
      } else if (work === "check") process?.begin((login) => login.keepFresh(), false);
      else process?.begin((login) => login.current(), true);
      await quiet();
    },
    async step(slot, steps) {
      for (let i = 0; i < steps && processes[slot]?.step(); i++) await quiet();
    },
    async stepUntilSent(slot) {
      const process = processes[slot];
      for (let i = 0; i < 60 && process?.unwritten.size === 0 && process.step(); i++) await quiet();
    },
    async run(slot) {
      for (let i = 0; i < 200 && processes[slot]?.step(); i++) await quiet();
    },
    async stop(slot) {
      processes[slot]?.stop();
      await quiet();
    },
    async proceed(slot) {
      processes[slot]?.proceed();
      await quiet();
    },
    async kill(slot) {
      await processes[slot]?.kill();
      await quiet();
    },
    async signal(slot) {
      await processes[slot]?.signal();
      await quiet();
    },
    async exit(slot) {
      await processes[slot]?.end();
      await quiet();
    },
    async replaceSession(slot) {
      processes[slot]?.replaceSession();
      await quiet();
    },
    async sleep(ms) {
      const until = clock.now() + ms;
      // In strides, so that whoever waits looks at the world between them.
      for (let i = 0; i < 60; i++) {
        const next = clock.next();
        if (next === undefined || clock.now() + next > until) {
          clock.advance(Math.max(0, until - clock.now()));
          return quiet();
        }
        clock.advance(Math.max(next, 1));
        await quiet();
      }
      // Somebody who never comes to rest: the machine sleeps for what is left.
      await self.machineSleeps(Math.max(0, until - clock.now()));
    },
    async machineSleeps(ms) {
      const awake = living().filter((process) => !process.isStopped());
      for (const process of awake) process.stop();
      clock.advance(ms);
      await quiet();
      for (const process of awake) process.proceed();
      await quiet();
    },
    async loginInPi(slot) {
      const process = processes[slot];
      if (!process || disk !== "works") return;
      count("logins in pi");
      const login = newLogin();
      const reservation = await reserveLogin(kimiCli);
      if (reservation.state === "failed") throw new Error(`no room: ${reservation.code}`);
      const saved = await reservation.successor.save(asToken(login));
      if (saved.state === "failed") throw new Error(`not saved: ${saved.code}`);
      reservation.successor.discard();
      const { access_token: access, refresh_token: refresh, expires_at } = login;
      const entry = { type: "oauth", access, refresh, expires: expires_at * 1_000 };
      const owned = { ...entry, owner: "kimi-cli", source: kimiCli.path };
      const file = { ...readObject(authPath), "kimi-coder": owned };
      writeFileSync(authPath, JSON.stringify(file, null, 2), { mode: 0o600 });
      baseline();
      outOfPi = false;
      await quiet();
    },
    async logoutInPi() {
      if (!hasEntry() || !hadEntry(memoryPath)) return;
      count("logouts in pi");
      logOutOfPi(authPath);
      baseline();
      outOfPi = true;
      await quiet();
    },
    async ownerLogsIn() {
      putLogin(kimiCli.path, newLogin());
      await quiet();
    },
    async ownerLogsOut() {
      removeLogin(kimiCli.path);
      inUse = undefined;
      await quiet();
    },
    async ownerRotates(patience) {
      const pause = OWNER_PAUSES[patience];
      void goesOn(
        renewAsKimiCli({ world, locks, refresh: send, pause, presenting: ownerPresenting }).then((outcome) =>
          count(`kimi-cli: ${outcome}`),
        ),
      );
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
      repairs.push(service.fault({ path: "token", do: action }));
    },
    slow(latency, times) {
      for (let i = 0; i < times; i++) latencies.push(latency);
    },
    breakDisk(next) {
      disk = next;
    },
    async end() {
      disk = "works";
      latencies.length = 0;
      for (const repair of repairs) repair();
      for (const process of living()) {
        process.run();
        process.proceed();
      }
      await rest();
      await rest();
      for (const process of living()) {
        if (process.isLeaving()) throw new Error("a process did not end");
        if (process.unwritten.size > 0) throw new Error("a renewed login was not written");
        if (process.inFlight.renewals.size > 0) throw new Error("a renewal does not end");
      }
      await judge();
    },
    async bury() {
      for (const repair of repairs) repair();
      for (const process of all) await process.bury();
      await world.drive(Promise.allSettled(beside));
    },
  };

  /** Until whoever waits, for locks as well as for answers, has waited long enough. */
  async function rest(): Promise<void> {
    await world.drive(Promise.all(living().map((process) => process.pending())));
    await world.drive(Promise.all(beside));
    await world.drive(clock.sleep(120_000));
    await quiet();
  }

  /** What a process finds that starts when all is quiet. */
  async function judge(): Promise<void> {
    for (const path of lockPaths) if (locks.isHeld(path)) throw new Error(`${path} was left locked`);
    const found = await kimiCli.read();
    const fresh = world.start({ stores: [kimiCli, world.kimiCode] });
    const access = await world.drive(fresh.keepFresh());
    await world.drive(fresh.end());
    await quiet();
    const state = access.state === "ready" ? "ready" : access.reason.kind;
    count(`at the end: ${state}`);
    if (outOfPi) {
      if (found.state === "present" && state !== "logged-out")
        throw new Error(`after a logout in pi: ${state}`);
      return;
    }
    if (found.state !== "present") {
      if (state === "ready") throw new Error("a login appeared from nowhere");
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
    const entry = await world.readEntry();
    if (entry.state !== "oauth" || entry.token.accessToken !== access.token.accessToken) {
      throw new Error("pi's entry is not the login in use");
    }
  }

  return self;
}

/** The text of everybody's entries but ours. */
function membersOfOthers(auth: string): string {
  const members: Members | undefined = parseMembers(auth);
  if (!members) throw new Error("auth.json is not whole");
  return JSON.stringify([...members].filter(([name]) => name !== "kimi-coder"));
}
