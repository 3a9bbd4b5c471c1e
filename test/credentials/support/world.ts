/**
 * A home, the Kimi service and a clock of its own, in which any number of logins live as processes would: real
 * files, real locks, real HTTP; only time is fake.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import { InFlight } from "../../../extensions/credentials/in-flight.ts";
import {
  createLogin,
  type Login,
  type LoginEvent,
  type Steps,
} from "../../../extensions/credentials/login.ts";
import { type PiEntry, readPiEntry } from "../../../extensions/credentials/pi-entry.ts";
import type { CredentialStore } from "../../../extensions/credentials/store.ts";
import { kimiCliStore, kimiCodeStore } from "../../../extensions/credentials/stores.ts";
import type { Clock } from "../../../extensions/lib/clock.ts";
import { isJsonObject, type JsonObject } from "../../../extensions/lib/json.ts";
import { type RefreshOutcome, refresh } from "../../../extensions/oauth/token-endpoint.ts";
import { createFakeClock, type FakeClock } from "../../support/fake-clock.ts";
import {
  CLIENT_ID,
  type IssuedToken,
  type KimiService,
  type KimiServiceOptions,
  startKimiService,
} from "../../support/kimi-service/index.ts";
import { temporaryDirectory } from "./homes.ts";

export type Refresh = (refreshToken: string, signal?: AbortSignal) => Promise<RefreshOutcome>;

/** What a process is started with beside the usual. */
export interface Process {
  readonly refresh?: Refresh;
  /** In place of kimi-cli's and kimi-code's. */
  readonly stores?: readonly CredentialStore[];
  readonly clock?: Clock;
  /** That of a process whose session was replaced (/new). */
  readonly inFlight?: InFlight;
  readonly steps?: Partial<Steps>;
}

export type RunningProcess = Login & {
  readonly inFlight: InFlight;
  readonly events: readonly LoginEvent[];
};

export interface World {
  readonly home: string;
  readonly clock: FakeClock;
  readonly service: KimiService;
  readonly kimiCli: CredentialStore;
  readonly kimiCode: CredentialStore;
  readonly authPath: string;
  readonly memoryPath: string;
  /** Our entry in pi's auth.json. */
  readEntry(): Promise<PiEntry>;
  /** The real request to the service. */
  readonly refresh: Refresh;
  /** A process whose time is the world's; signals of the real one do not reach it. */
  start(process?: Process): RunningProcess;
  /** A login by one of the owners' programs, as it stands in its file. */
  login(store: CredentialStore): IssuedToken;
  /** Does something that takes real time: meanwhile the clock stands still. */
  counted<T>(work: Promise<T>): Promise<T>;
  /** Whether something of its own takes real time now. */
  isBusy(): boolean;
  /** Waits for `work`, moving the clock to whoever wakes next whenever nothing else goes on. */
  drive<T>(work: Promise<T>): Promise<T>;
}

export async function startWorld(options: KimiServiceOptions = {}): Promise<World> {
  const home = temporaryDirectory();
  const clock = createFakeClock();
  const service = await startKimiService({ ...options, now: clock.now });
  onTestFinished(() => service.close());
  return worldIn(home, clock, service);
}

/** A world in a home that somebody else removes, around a service that somebody else closes. */
export function worldIn(home: string, clock: FakeClock, service: KimiService): World {
  const kimiCli = kimiCliStore(join(home, ".kimi"));
  const { oauthHost, baseUrl } = service;
  const kimiCode = kimiCodeStore(join(home, ".kimi-code"), { oauthHost, baseUrl });
  const authPath = join(home, ".pi/agent/auth.json");
  const memoryPath = join(home, ".pi/agent/kimi-coder.json");
  const server = { host: oauthHost, clientId: CLIENT_ID, fetch, identity: async () => ({}) };
  let busy = 0;
  async function counted<T>(work: Promise<T>): Promise<T> {
    busy += 1;
    try {
      return await work;
    } finally {
      busy -= 1;
    }
  }
  const isBusy = () => busy > 0 || isBusyWithFiles();
  const ask: Refresh = (refreshToken, signal) =>
    counted(refresh(server, refreshToken, clock.now, 15_000, signal));
  return {
    home,
    clock,
    service,
    kimiCli,
    kimiCode,
    authPath,
    memoryPath,
    readEntry: () => readPiEntry(authPath),
    refresh: ask,
    start(process = {}) {
      const events: LoginEvent[] = [];
      const own = process.clock ?? clock;
      const inFlight = process.inFlight ?? new InFlight(own, () => ({ release() {} }));
      const asking = process.refresh ?? ask;
      const login = createLogin({
        stores: process.stores ?? [kimiCli, kimiCode],
        authPath,
        memoryPath,
        tokenEndpoint: {
          load: async () => {},
          refresh: (refreshToken, _store, signal) => asking(refreshToken, signal),
        },
        clock: own,
        inFlight,
        listener: (event) => events.push(event),
        ...(process.steps ? { steps: process.steps } : {}),
      });
      void counted(login.prepare());
      return { ...login, inFlight, events };
    },
    login(store) {
      const token = service.issueLogin();
      putLogin(store.path, token);
      return token;
    },
    counted,
    isBusy,
    async drive(work) {
      let over = false;
      const end = () => {
        over = true;
      };
      work.then(end, end);
      let wentOn = Date.now();
      for (let idle = 0; !over; idle += 1) {
        await new Promise(setImmediate);
        const next = clock.next();
        if (next === undefined || isBusy()) idle = 0;
        if (next !== undefined) wentOn = Date.now();
        else if (Date.now() - wentOn > STUCK) throw new Error("everybody waits, and nobody for the time");
        if (next === undefined || idle < 3) continue;
        clock.advance(next);
        idle = 0;
      }
      return work;
    },
  };
}

/** After so long in real time with nobody asleep on the clock, nothing will happen any more, ms. */
const STUCK = 15_000;

/** Whether Node is waiting for the file system or for a child (the one that takes a flock). */
function isBusyWithFiles(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith("FSReq") || name === "ProcessWrap");
}

/** The file as both official programs would have written it: whole, at once. */
export function putLogin(path: string, token: JsonObject | IssuedToken): void {
  const { access_token, refresh_token, expires_at, scope, token_type, expires_in } = token;
  const text = JSON.stringify({ access_token, refresh_token, expires_at, scope, token_type, expires_in });
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.peer`, text, { mode: 0o600 });
  renameSync(`${path}.peer`, path);
}

export function removeLogin(path: string): void {
  rmSync(path, { force: true });
}

export function readObject(path: string): JsonObject {
  const value: unknown = JSON.parse(readFileSync(path, "utf8"));
  if (!isJsonObject(value)) throw new Error(`${path} holds no object`);
  return value;
}

/** A promise that somebody else keeps. */
export function deferred<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((keep) => {
    resolve = keep;
  });
  return { promise, resolve };
}

/** Removes our entry as pi's /logout does: the file is written anew, in place, without the key. */
export function logOutOfPi(authPath: string): void {
  const { "kimi-coder": _, ...others } = readObject(authPath);
  writeFileSync(authPath, JSON.stringify(others, null, 2), { mode: 0o600 });
}
