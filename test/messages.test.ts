import { describe, expect, it } from "vitest";
import type { Problem } from "../extensions/credentials/choose.ts";
import type { Unavailable } from "../extensions/credentials/login.ts";
import type { CredentialStore, Owner } from "../extensions/credentials/store.ts";
import { kimiCliStore } from "../extensions/credentials/stores.ts";
import { ownerName, sayFailure, sayProblem, sayUnavailable, sayUnsaved } from "../extensions/messages.ts";
import type { FailureCause } from "../extensions/oauth/token-endpoint.ts";
import { hostVerdicts } from "./chat/errors/hosts.ts";

const PATH = "/home/someone/.kimi/credentials/kimi-code.json";
const LOCK = "/home/someone/.kimi/credentials/kimi-code.lock";

function store(owner: Owner): CredentialStore {
  const read = () => Promise.reject(new Error("a sentence must not touch a store"));
  return { ...kimiCliStore("/home/someone/.kimi"), owner, read };
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
  { kind: "status", status: 401 },
  { kind: "unreadable", status: 200 },
];
type RenewalCause = Extract<Unavailable, { kind: "failed" }>["cause"];
const failures: readonly RenewalCause[] = [
  ...causes,
  { kind: "busy" },
  { kind: "lock", code: "EROFS", path: LOCK },
  { kind: "write", code: "ENOSPC" },
  { kind: "slow" },
  { kind: "leaving" },
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
    expect(said).toHaveLength(17);
    expect(new Set(said).size).toBe(16);
  });

  it("names what helps", () => {
    const words =
      /\/login kimi-coder|\/logout kimi-coder|try again|send the prompt again|start pi again|make .* (readable|writable)/;
    for (const reason of reasons) expect(sayUnavailable(reason)).toMatch(words);
  });

  it.each<[Unavailable, string[]]>([
    [{ kind: "no-login" }, ["/login kimi-coder", "kimi-cli", "KIMI_CODER_API_KEY"]],
    [{ kind: "logged-out" }, ["you logged out here", "/login kimi-coder"]],
    [{ kind: "own-key" }, ["auth.json", "/logout kimi-coder"]],
    [{ kind: "refused", store: store("kimi-code") }, ["kimi-code has ended", "/login kimi-coder"]],
    [{ kind: "refused", store: store("opencode-kimi-full") }, ["opencode has ended"]],
    [{ kind: "failed", store: cli, cause: { kind: "busy" } }, ["another program", "try again"]],
    [
      { kind: "failed", store: cli, cause: { kind: "lock", code: "EROFS", path: LOCK } },
      [PATH, LOCK, "EROFS", "make its folder writable"],
    ],
    [
      { kind: "failed", store: cli, cause: { kind: "lock", code: "EMFILE", path: LOCK } },
      [PATH, "EMFILE", "try again"],
    ],
    [
      { kind: "failed", store: cli, cause: { kind: "lock", code: "EEXIST", path: LOCK } },
      ["end the program that uses it", `remove ${LOCK}`],
    ],
    [{ kind: "failed", store: cli, cause: { kind: "slow" } }, ["still goes on", "send the prompt again"]],
    [
      { kind: "failed", store: cli, cause: { kind: "write", code: "ENOSPC" } },
      [PATH, "ENOSPC", "free the disk"],
    ],
    [
      { kind: "failed", store: cli, cause: { kind: "network", code: "ENOTFOUND" } },
      ["ENOTFOUND", "try again"],
    ],
    [
      { kind: "failed", store: cli, cause: { kind: "status", status: 503 } },
      ["out of order", "send the prompt again"],
    ],
    [{ kind: "failed", store: cli, cause: { kind: "status", status: 401 } }, ["401", "/login kimi-coder"]],
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

  it("has no word that makes a host send the request again, but for a network that is away", async () => {
    const verdicts = Object.values(await hostVerdicts());
    for (const reason of reasons) {
      if (reason.kind === "failed" && reason.cause.kind === "network") continue;
      const sentence = sayUnavailable(reason);
      expect([sentence, ...verdicts.map((verdict) => verdict(sentence))]).toEqual([sentence, "show", "show"]);
    }
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
    [{ kind: "status", status: 400 }, "the authorization server answered 400"],
    [{ kind: "status", status: 429 }, "the authorization server asks for a pause"],
    [{ kind: "status", status: 500 }, "the authorization server is out of order"],
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
