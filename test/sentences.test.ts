import { describe, expect, it } from "vitest";
import type { RenewalFailure } from "../extensions/credentials/renewal.ts";
import type { Problem } from "../extensions/credentials/selection.ts";
import type { Unavailable } from "../extensions/credentials/shared-credential.ts";
import type { CredentialStore, Owner } from "../extensions/credentials/store.ts";
import type { FailureCause } from "../extensions/oauth/token-endpoint.ts";
import { ownerName, sayFailure, sayProblem, sayUnavailable, sayUnsaved } from "../extensions/sentences.ts";

const NEVER = () => Promise.reject(new Error("a sentence must not touch a store"));
const PATH = "/home/someone/.kimi/credentials/kimi-code.json";

function store(owner: Owner, path = PATH): CredentialStore {
  return {
    owner,
    region: "kimi.com",
    path,
    ownerLockLimit: undefined,
    locks: [],
    read: NEVER,
    replace: NEVER,
    rehearse: NEVER,
    lockAmongPi: NEVER,
    lockOfOwner: NEVER,
  };
}

const cli = store("kimi-cli");
const OWNERS: readonly Owner[] = ["kimi-cli", "kimi-code", "opencode-kimi-auth", "opencode-kimi-full"];
const problems: readonly Problem["found"][] = [
  { state: "absent" },
  { state: "signed-out" },
  { state: "unreadable", code: "EACCES" },
  { state: "malformed", reason: "is not JSON" },
];
const causes: readonly FailureCause[] = [
  { kind: "network", code: "ECONNREFUSED" },
  { kind: "status", status: 503 },
  { kind: "unreadable", status: 200 },
];
const failures: readonly RenewalFailure[] = [
  ...causes,
  { kind: "busy" },
  { kind: "lock", code: "EROFS" },
  { kind: "write", code: "ENOSPC" },
];
const reasons: readonly Unavailable[] = [
  { kind: "no-login" },
  { kind: "own-key" },
  { kind: "logged-out" },
  ...OWNERS.flatMap((owner): Unavailable[] => [
    { kind: "refused", store: store(owner) },
    ...problems.map((found): Unavailable => ({ kind: "problem", problem: { store: store(owner), found } })),
    ...failures.map((cause): Unavailable => ({ kind: "failed", store: store(owner), cause })),
  ]),
];

describe("every reason for a missing login", () => {
  it("is one sentence on one line", () => {
    for (const reason of reasons) {
      expect(sayUnavailable(reason)).toMatch(/^Kimi Coder: [\x20-\x7e]+[^.]\.$/);
      expect(sayUnavailable(reason)).not.toMatch(/undefined|\[object/);
    }
  });

  it("is another one for each reason, but for the two ways in which an owner logs out", () => {
    const ofOne = reasons.filter((reason) => !("store" in reason) || reason.store.owner === "kimi-cli");
    const said = ofOne
      .filter((reason) => reason.kind !== "problem" || reason.problem.store.owner === "kimi-cli")
      .map(sayUnavailable);
    expect(said).toHaveLength(14);
    expect(new Set(said).size).toBe(13);
  });

  it("names what helps", () => {
    const words = /\/login kimi-coder|\/logout kimi-coder|try again|make .* (readable|writable)/;
    for (const reason of reasons) expect(sayUnavailable(reason)).toMatch(words);
  });

  it.each<[Unavailable, string[]]>([
    [{ kind: "no-login" }, ["/login kimi-coder", "kimi-cli", "KIMI_CODER_API_KEY"]],
    [{ kind: "logged-out" }, ["logged out", "/login kimi-coder", "KIMI_CODER_API_KEY"]],
    [{ kind: "own-key" }, ["auth.json", "/logout kimi-coder"]],
    [{ kind: "refused", store: store("kimi-code") }, ["kimi-code has ended", "/login kimi-coder"]],
    [{ kind: "refused", store: store("opencode-kimi-full") }, ["opencode has ended"]],
    [{ kind: "failed", store: cli, cause: { kind: "busy" } }, ["another program", "try again"]],
    [{ kind: "failed", store: cli, cause: { kind: "lock", code: "EROFS" } }, [PATH, "EROFS", "writable"]],
    [{ kind: "failed", store: cli, cause: { kind: "lock", code: "EMFILE" } }, [PATH, "EMFILE", "try again"]],
    [
      { kind: "failed", store: cli, cause: { kind: "write", code: "ENOSPC" } },
      [PATH, "ENOSPC", "free the disk"],
    ],
    [
      { kind: "failed", store: cli, cause: { kind: "network", code: "ENOTFOUND" } },
      ["ENOTFOUND", "try again"],
    ],
    [{ kind: "failed", store: cli, cause: { kind: "status", status: 503 } }, ["503", "try again"]],
    [
      { kind: "problem", problem: { store: cli, found: { state: "absent" } } },
      ["kimi-cli has logged out", "/login"],
    ],
    [
      { kind: "problem", problem: { store: cli, found: { state: "unreadable", code: "EACCES" } } },
      [PATH, "EACCES", "/login kimi-coder"],
    ],
    [
      { kind: "problem", problem: { store: cli, found: { state: "malformed", reason: "is not JSON" } } },
      [`${PATH} is not JSON`, "kimi-cli", "/login kimi-coder"],
    ],
  ])("%#: has the words that are needed", (reason, words) => {
    const sentence = sayUnavailable(reason);
    for (const word of words) expect(sentence).toContain(word);
  });

  it("says the same of a problem wherever it is said", () => {
    for (const found of problems) {
      expect(sayUnavailable({ kind: "problem", problem: { store: cli, found } })).toBe(
        sayProblem({ store: cli, found }),
      );
    }
  });

  it("repeats nothing of a login but its owner and its place", () => {
    const token = {
      accessToken: "a-secret",
      refreshToken: "a-secret",
      expiresAt: 0,
      lifetime: 1,
      scope: "a-secret",
      tokenType: "a-secret",
    };
    const loaded = Object.assign(store("kimi-cli"), { token, toString: () => "a-secret" });
    expect(sayUnavailable({ kind: "refused", store: loaded })).not.toContain("a-secret");
    expect(sayUnavailable({ kind: "failed", store: loaded, cause: { kind: "busy" } })).not.toContain(
      "a-secret",
    );
  });
});

describe("the parts of sentences", () => {
  it.each<[FailureCause, string]>([
    [{ kind: "network", code: "ECONNREFUSED" }, "of a network error (ECONNREFUSED)"],
    [{ kind: "status", status: 429 }, "the authorization server answered 429"],
    [{ kind: "unreadable", status: 200 }, "the authorization server's answer could not be understood"],
  ])('complete "because": %#', (cause, text) => {
    expect(sayFailure(cause)).toBe(text);
  });

  it("call the programs by the names their users know", () => {
    expect(OWNERS.map(ownerName)).toEqual(["kimi-cli", "kimi-code", "opencode-kimi-auth", "opencode"]);
  });
});

describe("a login that is not yet where it belongs", () => {
  it("names the owner's file, the reason and what to do", () => {
    const sentence = sayUnsaved({ kind: "unsaved", path: PATH, code: "ENOSPC" }, "/agent/auth.json");
    expect(sentence).toMatch(
      /^Kimi Coder: .*kimi-code\.json \(ENOSPC\); free the disk or make it writable and leave pi running/,
    );
  });

  it("names auth.json where only the mirror is behind", () => {
    const sentence = sayUnsaved({ kind: "unmirrored", code: "EACCES" }, "/agent/auth.json");
    expect(sentence).toMatch(/^Kimi Coder: \/agent\/auth\.json cannot be updated \(EACCES\);/);
  });
});
