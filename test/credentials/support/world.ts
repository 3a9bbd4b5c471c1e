/**
 * A home, the Kimi service and a clock of its own, in which any number of credentials live as processes would: real
 * files, real locks, real HTTP; only time is fake.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import { kimiCliStore } from "../../../extensions/credentials/kimi-cli.ts";
import { kimiCodeStore } from "../../../extensions/credentials/kimi-code.ts";
import { type PiAuth, piAuth } from "../../../extensions/credentials/pi-auth.ts";
import {
  type CredentialEvent,
  createSharedCredential,
  type SharedCredential,
} from "../../../extensions/credentials/shared-credential.ts";
import type { CredentialStore, LoginStore } from "../../../extensions/credentials/store.ts";
import type { Clock } from "../../../extensions/oauth/clock.ts";
import { isJsonObject, type JsonObject } from "../../../extensions/oauth/json-object.ts";
import type { Token } from "../../../extensions/oauth/token.ts";
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

export type Refresh = (refreshToken: string) => Promise<RefreshOutcome>;

/** What a process is started with beside the usual. */
export interface Process {
  readonly refresh?: Refresh;
  /** In place of kimi-cli's store. */
  readonly kimiCli?: LoginStore;
  readonly kimiCode?: CredentialStore;
  readonly piAuth?: PiAuth;
  readonly clock?: Clock;
}

export type RunningProcess = SharedCredential & { readonly events: readonly CredentialEvent[] };

export interface World {
  readonly home: string;
  readonly clock: FakeClock;
  readonly service: KimiService;
  readonly kimiCli: LoginStore;
  readonly kimiCode: LoginStore;
  readonly piAuth: PiAuth;
  readonly authPath: string;
  readonly memoryPath: string;
  readonly rotationsPath: string;
  /** The real request to the service. */
  readonly refresh: Refresh;
  start(process?: Process): RunningProcess;
  /** A login by one of the owners' programs, as it stands in its file. */
  login(store: CredentialStore): IssuedToken;
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
  const kimiCli = kimiCliStore({ share: join(home, ".kimi") });
  const { oauthHost, baseUrl } = service;
  const kimiCode = kimiCodeStore({ home: join(home, ".kimi-code"), oauthHost, baseUrl });
  const authPath = join(home, ".pi/agent/auth.json");
  const memoryPath = join(home, ".pi/agent/kimi-coder.json");
  const rotationsPath = join(home, ".pi/agent/kimi-coder-renewals.json");
  const real = piAuth({ path: authPath });
  const server = { host: oauthHost, clientId: CLIENT_ID, fetch, identity: async () => ({}) };
  let busy = 0;
  /** Counts what takes real time. */
  async function counted<T>(work: Promise<T>): Promise<T> {
    busy += 1;
    try {
      return await work;
    } finally {
      busy -= 1;
    }
  }
  const isBusy = () => busy > 0 || isBusyWithFiles();
  const ask: Refresh = (refreshToken) => counted(refresh(server, refreshToken, clock.now, 15_000));
  const pi: PiAuth = {
    read: () => counted(real.read()),
    update: (change) => counted(real.update(change)),
  };
  return {
    home,
    clock,
    service,
    kimiCli,
    kimiCode,
    piAuth: pi,
    authPath,
    memoryPath,
    rotationsPath,
    refresh: ask,
    start(process = {}) {
      const events: CredentialEvent[] = [];
      const loginStore = process.kimiCli ?? kimiCli;
      const credential = createSharedCredential({
        stores: [loginStore, process.kimiCode ?? kimiCode],
        loginStore,
        piAuth: process.piAuth ?? pi,
        memoryPath,
        refresh: process.refresh ?? ask,
        clock: process.clock ?? clock,
        rotationsPath,
        listener: (event) => events.push(event),
      });
      return { ...credential, events };
    },
    login(store) {
      const token = service.issueLogin();
      putLogin(store.path, token);
      return token;
    },
    isBusy,
    async drive(work) {
      let over = false;
      const end = () => {
        over = true;
      };
      work.then(end, end);
      for (let idle = 0; !over; idle += 1) {
        await new Promise(setImmediate);
        const next = clock.next();
        if (next === undefined || isBusy()) idle = 0;
        if (next === undefined || idle < 3) continue;
        clock.advance(next);
        idle = 0;
      }
      return work;
    },
  };
}

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

export function asToken(issued: IssuedToken): Token {
  return {
    accessToken: issued.access_token,
    refreshToken: issued.refresh_token,
    expiresAt: issued.expires_at * 1000,
    lifetime: issued.expires_in * 1000,
    scope: issued.scope,
    tokenType: issued.token_type,
  };
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
