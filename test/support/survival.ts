/** What a situation must end with: the login alive and in its place, its tokens used once, and one plain sentence where there is no answer. */
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { performance } from "node:perf_hooks";
import { expect } from "vitest";
import { newerHost, olderHost, type PiHost } from "./hosts.ts";
import { printPi } from "./pi.ts";
import type { Finished } from "./processes.ts";
import { eventually } from "./waiting.ts";
import type { LoginState, World } from "./world.ts";

/** All that a print run says on stderr: one sentence of ours on one line. */
const ONE_SENTENCE = /^Kimi Coder: [^\n]*[^\n.]\.\n$/;

export const answered = ({ stdout, exitCode }: Finished): boolean =>
  exitCode === 0 && stdout.startsWith("You said: ");

/** The host beside this one. */
export const otherHost = (host: PiHost): PiHost => (host === olderHost ? newerHost : olderHost);

/** That there was no answer, and one sentence says why. */
export function expectOneSentence({ stdout, stderr, exitCode }: Finished): void {
  expect(stderr).toMatch(ONE_SENTENCE);
  expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 1 });
}

/** Whether this signal ended it: by itself, or by the exit code that stands for it. */
export function isEndedBy({ exitCode, signal }: Finished, name: "SIGINT" | "SIGTERM" | "SIGHUP"): boolean {
  return signal === name || exitCode === 128 + constants.signals[name];
}

/**
 * That the login which this (used or current) refresh token began is alive, that no token of it was presented twice,
 * and that the next pi answers although no access token works any more: so the refresh token on disk is the newest.
 */
export async function expectLoginSurvives(
  host: PiHost,
  { service, home, env }: World,
  refreshToken: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<void> {
  expect(service.reusedRefreshTokens()).toBe(0);
  expect(service.isLoginAlive(refreshToken)).toBe(true);
  service.expireAccessTokens();
  const refreshes = service.refreshes().length;
  const { stdout, stderr, exitCode } = await printPi(host, home, ["again"], env(variables));
  expect({ stdout, stderr, exitCode }).toEqual({ stdout: "You said: again\n", stderr: "", exitCode: 0 });
  expect(service.refreshes()).toHaveLength(refreshes + 1);
  expect(service.reusedRefreshTokens()).toBe(0);
  expect(service.isLoginAlive(refreshToken)).toBe(true);
}

/** A login as most people have it: in its owner's file and, since an earlier run, in pi's auth.json. */
export function ordinaryLogin(world: World, state: LoginState, owner: "kimi-cli" | "kimi-code" = "kimi-cli") {
  const token = owner === "kimi-cli" ? world.logInToKimiCli(state) : world.logInToKimiCode(state);
  world.mirror(token, owner);
  return token;
}

/** Waits until a refresh has reached the service. */
export async function refreshSent({ service }: World): Promise<void> {
  await service.waitFor(({ kind }) => kind === "refresh");
}

/** Waits until kimi-cli's file holds another token than this one, the newest of its login. */
export function isRenewed({ service, home }: World, refreshToken: string): Promise<true> {
  const look = () => {
    const newest = service.currentTokens(refreshToken)?.refresh_token;
    return (newest !== refreshToken && home.readKimiCli()?.refresh_token === newest) || undefined;
  };
  return eventually(look, () => "the renewed login is not on disk");
}

/**
 * Looks every 10 ms whether there is a folder: a lock's. The function that comes back says for how long it was there at a
 * stretch at most, ms.
 */
export function watchFolder(path: string, atEnd: (task: () => void) => void): () => number {
  let since: number | undefined;
  let longest = 0;
  const look = () => {
    const now = performance.now();
    if (!existsSync(path)) since = undefined;
    else {
      since ??= now;
      longest = Math.max(longest, now - since);
    }
  };
  const timer = setInterval(look, 10);
  atEnd(() => clearInterval(timer));
  return () => longest;
}
