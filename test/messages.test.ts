import { describe, expect, it } from "vitest";
import type { Problem } from "../extensions/credentials/choose.ts";
import type { Unavailable } from "../extensions/credentials/login.ts";
import type { CredentialStore } from "../extensions/credentials/store.ts";
import { kimiCliStore } from "../extensions/credentials/stores.ts";
import { sayFailure, sayUnavailable, sayUnsaved } from "../extensions/messages.ts";
import { hostVerdicts } from "./chat/errors/hosts.ts";

const cli = kimiCliStore("/home/someone/.kimi");
const PATH = cli.path;
const LOCK = "/home/someone/.kimi/credentials/kimi-code.lock";

const failed = (cause: Extract<Unavailable, { kind: "failed" }>["cause"]): Unavailable => ({
  kind: "failed",
  store: cli,
  cause,
});
const problem = (found: Problem["found"]): Unavailable => ({
  kind: "problem",
  problem: { store: cli, found },
});
const opencode: CredentialStore = { ...cli, owner: "opencode-kimi-full" };

/** Each with the words that it needs. */
const reasons: readonly (readonly [Unavailable, ...string[]])[] = [
  [{ kind: "no-login" }, "/login kimi-coder", "kimi-cli", "KIMI_CODER_API_KEY"],
  [{ kind: "logged-out" }, "you logged out here", "/login kimi-coder"],
  [{ kind: "own-key" }, "auth.json", "/logout kimi-coder"],
  [{ kind: "refused", store: cli }, "kimi-cli has ended", "/login kimi-coder"],
  [{ kind: "refused", store: opencode }, "opencode has ended", "/login kimi-coder"],
  [problem({ state: "absent" }), "kimi-cli has logged out", "/login kimi-coder", "KIMI_CODER_API_KEY"],
  [problem({ state: "unreadable", code: "EACCES" }), PATH, "EACCES", "/login kimi-coder"],
  [problem({ state: "malformed", reason: "is not JSON" }), `${PATH} is not JSON`, "/login kimi-coder"],
  [failed({ kind: "busy" }), "another program", "try again"],
  [failed({ kind: "slow" }), "still goes on", "send the prompt again"],
  [failed({ kind: "leaving" }), "start pi again"],
  [failed({ kind: "lock", code: "EROFS", path: LOCK }), PATH, LOCK, "EROFS", "make its folder writable"],
  [failed({ kind: "lock", code: "EMFILE", path: LOCK }), PATH, "EMFILE", "try again"],
  [failed({ kind: "lock", code: "EEXIST", path: LOCK }), "end the program that uses it", `remove ${LOCK}`],
  [failed({ kind: "lock", code: "MODULE_NOT_FOUND", path: LOCK }), "npm install"],
  [failed({ kind: "write", code: "ENOSPC" }), PATH, "ENOSPC", "free the disk"],
  [failed({ kind: "network", code: "ENOTFOUND" }), "of a network error (ENOTFOUND)", "try again"],
  [failed({ kind: "status", status: 503 }), "out of order", "send the prompt again"],
  [failed({ kind: "status", status: 429 }), "asks for a pause", "send the prompt again"],
  [failed({ kind: "status", status: 401 }), "401", "/login kimi-coder"],
  [failed({ kind: "unreadable", status: 200 }), "could not be understood", "try again"],
];

describe("every reason for a missing login", () => {
  it.each(reasons.map(([reason, ...words]) => ({ reason, words })))(
    "is one sentence of its own that names what helps: %#",
    ({ reason, words }) => {
      const sentence = sayUnavailable(reason);
      expect(sentence).toMatch(/^Kimi Coder: [\x20-\x7e]+[^.]\.$/);
      expect(sentence).not.toMatch(/undefined|\[object/);
      for (const word of words) expect(sentence).toContain(word);
      expect(reasons.filter(([other]) => sayUnavailable(other) === sentence)).toHaveLength(1);
    },
  );

  it("has no word that makes a host send the request again, but for a network that is away", async () => {
    const verdicts = Object.values(await hostVerdicts());
    for (const [reason] of reasons) {
      if (reason.kind === "failed" && reason.cause.kind === "network") continue;
      const sentence = sayUnavailable(reason);
      expect([sentence, ...verdicts.map((verdict) => verdict(sentence))]).toEqual([sentence, "show", "show"]);
    }
  });
});

it("a failure of the authorization server completes a sentence of the login too", () => {
  expect(sayFailure({ kind: "status", status: 400 })).toBe("the authorization server answered 400");
});

describe("a login that is not yet where it belongs", () => {
  it("names the owner's file, the reason and what to do", () => {
    expect(sayUnsaved({ kind: "unsaved", path: PATH, code: "ENOSPC" }, "/agent/auth.json")).toMatch(
      /^Kimi Coder: .*kimi-code\.json \(ENOSPC\); free the disk or make it writable and leave pi running/,
    );
  });

  it("names auth.json where only the mirror is behind", () => {
    expect(sayUnsaved({ kind: "unmirrored", code: "EACCES" }, "/agent/auth.json")).toBe(
      "Kimi Coder: /agent/auth.json cannot be updated (EACCES); repair it or make it writable.",
    );
  });
});
