/**
 * What went wrong, in one sentence that names the next action. Nothing that came from a server or stands in a file
 * gets in here, so nothing secret can come out.
 */
import type { Problem } from "./credentials/choose.ts";
import type { LoginEvent, Unavailable } from "./credentials/login.ts";
import type { Owner } from "./credentials/store.ts";
import { sayTime } from "./lib/waiting-time.ts";
import type { FailureCause } from "./oauth/token-endpoint.ts";
import type { Waiting } from "./queue/queue.ts";

/** As its users call it. */
export function ownerName(owner: Owner): string {
  return owner === "opencode-kimi-full" ? "opencode" : owner;
}

/** Node's code for a library that is not there: pi uses a local folder in place and never installs its libraries. */
const MISSING = "MODULE_NOT_FOUND";
const INSTALL = "Kimi Coder: the libraries it needs are not installed; run npm install in its folder.";

/** A machine that is short of something for the moment. */
const PASSING = new Set(["EAGAIN", "EMFILE", "ENFILE", "ENOMEM", "EINTR", "ETIMEDOUT"]);

/** The sentence for a request that cannot be made, or a session that starts without a login. */
export function sayUnavailable(reason: Unavailable): string {
  switch (reason.kind) {
    case "no-login":
      return "Kimi Coder: no login found; type /login kimi-coder, log in with kimi-cli, or set KIMI_CODER_API_KEY.";
    case "own-key":
      return "Kimi Coder: auth.json holds an API key for kimi-coder; remove it with /logout kimi-coder to use a login.";
    case "logged-out":
      return "Kimi Coder: you logged out here; type /login kimi-coder to log in.";
    case "problem":
      return sayProblem(reason.problem);
    case "refused":
      return `Kimi Coder: the login of ${ownerName(reason.store.owner)} has ended; type /login kimi-coder to log in again.`;
    case "failed":
      return sayRenewalFailure(reason.cause, reason.store.path);
  }
}

/** Why a renewal gave no token. */
type Cause = Extract<Unavailable, { kind: "failed" }>["cause"];

export function sayProblem({ store, found }: Problem): string {
  const { path } = store;
  const owner = ownerName(store.owner);
  switch (found.state) {
    case "absent":
    case "signed-out":
      return `Kimi Coder: ${owner} has logged out; type /login kimi-coder, log in with ${owner} again, or set KIMI_CODER_API_KEY.`;
    case "unreadable":
      return `Kimi Coder: ${path} cannot be read (${found.code}); make it readable for you, or type /login kimi-coder.`;
    case "malformed":
      return `Kimi Coder: ${path} ${found.reason}; log in with ${owner} again, or type /login kimi-coder.`;
  }
}

function sayRenewalFailure(cause: Cause, path: string): string {
  switch (cause.kind) {
    case "busy":
      return "Kimi Coder: another program is renewing the login and does not finish; try again in a minute.";
    case "lock":
      if (cause.code === MISSING) return INSTALL;
      return `Kimi Coder: the login in ${path} cannot be renewed because ${cause.path} cannot be locked (${cause.code}); ${adviceForLock(cause)}.`;
    case "slow":
      return "Kimi Coder: the authorization server is slow and the renewal of the login still goes on; send the prompt again in a minute.";
    case "leaving":
      return "Kimi Coder: the login is not renewed any more because pi is about to end; start pi again.";
    case "write":
      if (cause.code === MISSING) return INSTALL;
      return `Kimi Coder: the login in ${path} is not renewed because the file cannot be written (${cause.code}); free the disk or make it writable.`;
    case "status":
      // A 401 is about the client or its token, and asking again changes neither.
      if (cause.status === 401) {
        return "Kimi Coder: the login could not be renewed because the authorization server answered 401; type /login kimi-coder to log in again.";
      }
      return `Kimi Coder: the login could not be renewed because ${sayFailure(cause)}; send the prompt again in a minute.`;
    case "network":
    case "unreadable":
      return `Kimi Coder: the login could not be renewed because ${sayFailure(cause)}; try again.`;
  }
}

/** What helps depends on what stands in the lock's place. */
function adviceForLock({ code, path }: Extract<Cause, { kind: "lock" }>): string {
  if (PASSING.has(code)) return "try again";
  return ["EISDIR", "ENOTDIR", "ENOTEMPTY", "EEXIST"].includes(code)
    ? `end the program that uses it, or remove ${path}`
    : "make its folder writable";
}

/** Completes "… because". */
export function sayFailure(cause: FailureCause): string {
  switch (cause.kind) {
    case "network":
      return `of a network error (${cause.code})`;
    case "status":
      // A number of 429 or above, and "server error", would make pi ask again at once.
      if (cause.status >= 500) return "the authorization server is out of order";
      if (cause.status === 429) return "the authorization server asks for a pause";
      return `the authorization server answered ${cause.status}`;
    case "unreadable":
      return "the authorization server's answer could not be understood";
  }
}

/** The warning for a renewed login that is not yet where it belongs. */
export function sayUnsaved(event: Exclude<LoginEvent, { kind: "mirrored" }>, authPath: string): string {
  if (event.code === MISSING) return INSTALL;
  return event.kind === "unsaved"
    ? `Kimi Coder: the renewed login cannot be written to ${event.path} (${event.code}); free the disk or make it writable and leave pi running until then.`
    : `Kimi Coder: ${authPath} cannot be updated (${event.code}); ${event.path === undefined ? "repair it or make it writable" : adviceForLock({ kind: "lock", code: event.code, path: event.path })}.`;
}

/** One line; `now` in ms since the epoch. */
export function sayWaiting(waiting: Waiting, now: number): string {
  if (waiting.for === "place")
    return `Kimi Coder: waits for other requests of this account, number ${waiting.position} in line`;
  const seconds = Math.max(1, Math.ceil((waiting.until - now) / 1000));
  return `Kimi Coder: waits until ${sayTime(waiting.until, new Date(now))} as Kimi has too many requests (${seconds} s)`;
}
