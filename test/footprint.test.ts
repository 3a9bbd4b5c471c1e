/** README.md's "What it touches on disk" is all that pi leaves in a home, whichever program's login it uses and renews. */
import { describe, expect, test } from "vitest";
import { hosts, type PiHost } from "./support/hosts.ts";
import { ourModel, printPi } from "./support/pi.ts";
import { codesIn, readReadme, tableRows } from "./support/readme.ts";
import { startRpc } from "./support/rpc.ts";
import { createWorld, type World } from "./support/world.ts";

/** What pi makes by itself, without any extension. */
const PIS_OWN =
  /^\.pi\/(?:agent\/(?:settings\.json|models-store\.json|trust\.json|bin\/.*|npm\/.*|cache\/.*)?)?$/;
/** Locks that are there only while they are held, what is only read, and what `/kimi tools` alone makes. */
const NOT_LEFT = [
  "~/.pi/agent/kimi-coder-settings.json",
  "~/.kimi-code/region",
  "~/.kimi-code/config.toml",
  "~/.kimi/config.toml",
  "~/.pi/agent/auth.json.lock",
  "~/.local/share/opencode/auth.json.kimi-for-coding-oauth.refresh.lock",
];

/** The paths of the table as patterns, `~` being the home. A lock is named without the folder that its row is about. */
const named = tableRows(readReadme(), "What it touches on disk").flatMap(([paths, what]) => {
  const files = codesIn(paths).filter((code) => code.includes("/"));
  const folders = files.map((file) => file.replace(/[^/]*$/, ""));
  const locks = codesIn(what).filter((code) => /^[\w.*-]+\.(?:lock|flock)$/.test(code));
  const further = codesIn(what).filter((code) => code.startsWith("~/") && !files.includes(code));
  return [...files, ...further, ...locks.flatMap((lock) => folders.map((folder) => folder + lock))];
});

const matcher = (name: string) => {
  const escaped = name.replace(/^~\//, "").replace(/[.+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("*", "[^/]*")}${name.endsWith("/") ? "" : "$"}`);
};

describe.each(hosts)("on pi $name", (host) => {
  test("nothing is left that the table does not name, and all that it names", async () => {
    const left = new Set<string>();
    for (const login of [kimiCli, kimiCode, opencodeKimiFull, opencodeKimiAuth, pisOwn]) {
      for (const path of await leftBehind(host, login)) left.add(path);
    }
    const patterns = named.map(matcher);
    const strangers = [...left].filter(
      (path) => !PIS_OWN.test(path) && !patterns.some((pattern) => pattern.test(path) || isAbove(path)),
    );
    expect(strangers).toEqual([]);
    const missing = named.filter(
      (name) => ![...left].some((path) => matcher(name).test(path)) && !NOT_LEFT.includes(name),
    );
    expect(missing).toEqual([]);
  });
});

/** A folder in which something is that the table names. */
function isAbove(path: string): boolean {
  return path.endsWith("/") && named.some((name) => name.startsWith(`~/${path}`));
}

/** A worker, and for kimi-cli's login a session that shows its quota; the login has ended before. */
async function leftBehind(host: PiHost, login: (world: World) => void): Promise<readonly string[]> {
  const world = await createWorld();
  const { service, home, env } = world;
  login(world);
  const worker = env({ CAO_TERMINAL_ID: "a1b2c3d4" });
  const answer = await printPi(host, home, ["hello"], worker);
  expect(answer, answer.stderr).toMatchObject({ stdout: "You said: hello\n", exitCode: 0 });
  expect(home.files()[".pi/agent/kimi-coder-status/a1b2c3d4.json"]).toBe("600");
  if (login === kimiCli) {
    const session = startRpc(host, home, ourModel, env());
    await session.prompt("hello");
    await session.request({ type: "prompt", message: "/kimi usage" });
    await session.waitFor((event) => JSON.stringify(event).includes("Kimi quota"));
    await session.close();
  }
  expect(service.refreshes()).toHaveLength(1);
  return Object.keys(home.files());
}

function kimiCli({ logInToKimiCli }: World): void {
  logInToKimiCli("expired");
}

function kimiCode({ logInToKimiCode }: World): void {
  logInToKimiCode("expired");
}

/** The words that opencode and pi share. */
function ended({ service }: World) {
  const { refresh_token: refresh, access_token: access } = service.issueLogin();
  service.expireAccessTokens();
  return { type: "oauth", refresh, access, expires: Date.now() - 60_000 };
}

function opencodeKimiFull(world: World): void {
  const entries = { "kimi-for-coding-oauth": ended(world) };
  world.home.write(".local/share/opencode/auth.json", JSON.stringify(entries));
}

function opencodeKimiAuth(world: World): void {
  const { refresh, access, expires } = ended(world);
  const login = { access_token: access, refresh_token: refresh, expires_in: 900, expires_at: expires };
  world.home.write(".opencode-kimi-auth/oauth.json", JSON.stringify(login));
}

/** As the first pi-kimi-coder has left it. */
function pisOwn(world: World): void {
  world.home.writeAuth({ "kimi-coder": ended(world) });
}
