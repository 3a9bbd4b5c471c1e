/** Root with a user's home (sudo, a container): everything new belongs to the user, and nothing of root's goes to others. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { hosts, type PiHost } from "../../support/hosts.ts";
import { canRead } from "../../support/other-user.ts";
import { runKimiCli } from "../../support/peers.ts";
import { printPi } from "../../support/pi.ts";
import { answered, expectLoginSurvives } from "../../support/survival.ts";
import { createWorld, type World } from "../../support/world.ts";

/** Nobody's in particular. */
const USER = 12_345;

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn("SKIPPED: what root does in a user's home, because the tests do not run as root");

function giveHome({ home }: World): void {
  spawnSync("chown", ["-R", `${USER}:${USER}`, home.path]);
}

/** Whose the files of the home are, but for what pi itself makes. */
function owners({ home }: World, below: RegExp): Record<string, string> {
  const paths = Object.keys(home.files()).map((path) => path.replace(/[/@]$/, ""));
  return Object.fromEntries(
    paths
      .filter((path) => below.test(path))
      .map((path) => {
        const { uid, gid } = lstatSync(join(home.path, path));
        return [path, `${uid}:${gid}`];
      }),
  );
}

/** kimi-cli runs from this checkout, as the user. */
const hasPeer = isRoot && canRead(USER, fileURLToPath(import.meta.url));
if (isRoot && !hasPeer)
  console.warn("SKIPPED: the user's own kimi-cli, because only root can read this checkout");

describe.skipIf(!isRoot).concurrent.each(hosts)("root with a user's home, on pi $name,", (host) => {
  test.for(["logInToKimiCli", "logInToKimiCode"] as const)(
    "leaves nothing there that the user cannot open (%s)",
    async (login, { onTestFinished }) => {
      const world = await createWorld({}, onTestFinished);
      const { service, home, env } = world;
      const { refresh_token } = world[login]("expired");
      home.writeAuth({});
      giveHome(world);
      expect(answered(await printPi(host, home, ["hello"], env()))).toBe(true);
      expect(service.refreshes()).toHaveLength(1);
      const ours = () => Object.entries(owners(world, /^\.kimi|auth\.json|kimi-coder/));
      const foreign = () => ours().filter(([, owner]) => owner !== `${USER}:${USER}`);
      expect(ours().join()).toMatch(/device_id/);
      expect(foreign()).toEqual([]);
      await expectLoginSurvives(host, world, refresh_token);
      expect(foreign()).toEqual([]);
    },
  );

  test.skipIf(!hasPeer)("and the user's own kimi-cli renews afterwards", async ({ onTestFinished }) => {
    const world = await createWorld({}, onTestFinished);
    const { home, service, env, logInToKimiCli } = world;
    const { refresh_token } = logInToKimiCli("expired");
    giveHome(world);
    expect(answered(await printPi(host, home, ["hello"], env()))).toBe(true);
    expect(await runKimiCli(home, service, { force: true, user: USER })).toMatchObject({
      outcome: "refreshed",
      locked: true,
    });
    await expectLoginSurvives(host, world, refresh_token);
  });
});

interface Place {
  /** The status file. */
  readonly path: string;
  /** Files that must stay as they are. */
  readonly untouched: readonly string[];
}

/** Each makes a status file's place; `path` is in a new folder of the home. */
const traps: Record<string, (path: string, record: string) => Place> = {
  "a link to a file of the user's": (path, record) => {
    const victim = join(dirname(path), "victim");
    writeFileSync(victim, record);
    symlinkSync(victim, path);
    return { path, untouched: [victim] };
  },
  "a link to what is not there": (path) => {
    const victim = join(dirname(path), "victim");
    symlinkSync(victim, path);
    return { path, untouched: [victim] };
  },
  "another user's file in a sticky folder that anybody may write to": (path, record) => {
    chmodSync(dirname(path), 0o1777);
    writeFileSync(path, record);
    chownSync(path, USER, USER);
    return { path, untouched: [path] };
  },
  "another user's file in a folder that anybody may write to": (path, record) => {
    chmodSync(dirname(path), 0o777);
    writeFileSync(path, record);
    chownSync(path, USER, USER);
    return { path, untouched: [path] };
  },
};

const look = (path: string) =>
  existsSync(path)
    ? { text: readFileSync(path, "utf8"), ino: lstatSync(path).ino, uid: lstatSync(path).uid }
    : undefined;

/** The record of a pi that has ended. Any other pi may replace it, so a planted copy looks like one of ours. */
async function endedRecord(host: PiHost, { home, env }: World): Promise<string> {
  const path = join(home.path, "earlier", "worker.json");
  await printPi(host, home, ["earlier"], env({ KIMI_CODER_STATUS_FILE: path }));
  return readFileSync(path, "utf8");
}

describe.skipIf(!isRoot).concurrent.each(hosts)("the status file of pi $name", (host) => {
  test.for(Object.keys(traps))("is not written to %s", async (name, { onTestFinished }) => {
    const world = await createWorld({}, onTestFinished);
    const { home, env, logInToKimiCli } = world;
    logInToKimiCli();
    const record = await endedRecord(host, world);
    const wanted = join(home.path, "run", "worker.json");
    mkdirSync(dirname(wanted));
    const { path, untouched } = traps[name]?.(wanted, record) ?? expect.fail(name);
    const before = [...untouched, path].map(look);
    const link = lstatSync(path).isSymbolicLink();
    const { stdout, stderr } = await printPi(host, home, ["hello"], env({ KIMI_CODER_STATUS_FILE: path }));
    expect([...untouched, path].map(look)).toEqual(before);
    expect(lstatSync(path).isSymbolicLink()).toBe(link);
    expect(stdout).toBe("You said: hello\n");
    expect(stderr).toMatch(
      /^Kimi Coder: the status file [^\n]* cannot be written [^\n]*KIMI_CODER_STATUS_FILE\.\n$/,
    );
    expect(stderr).toContain(path);
    rmSync(dirname(path), { recursive: true });
  });

  test("as root's never becomes somebody else's file", async ({ onTestFinished }) => {
    const world = await createWorld({}, onTestFinished);
    const { home, env, logInToKimiCli } = world;
    logInToKimiCli();
    const record = await endedRecord(host, world);
    const path = join(home.path, "run", "worker.json");
    mkdirSync(dirname(path));
    writeFileSync(path, record);
    chownSync(path, USER, USER);
    await printPi(host, home, ["hello"], env({ KIMI_CODER_STATUS_FILE: path }));
    // Refused, or taken over and root's own.
    const { text, uid } = look(path) ?? expect.fail("it is gone");
    if (text.includes("You said: hello")) expect(uid).toBe(0);
    else expect({ text, uid }).toEqual({ text: record, uid: USER });
  });
});
