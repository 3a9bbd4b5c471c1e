/** Root with a user's home (sudo, a container): everything new belongs to the user, and nothing of root's goes to others. */
import { spawnSync } from "node:child_process";
import { chownSync, lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import { hosts } from "../../support/hosts.ts";
import { canRead } from "../../support/other-user.ts";
import { runKimiCli } from "../../support/peers.ts";
import { printPi } from "../../support/pi.ts";
import { answered, expectLoginSurvives } from "../../support/survival.ts";
import { worldTest as test, type World } from "../../support/world.ts";

/** Nobody's in particular. */
const USER = 12_345;

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn("SKIPPED: what root does in a user's home, because the tests do not run as root");

function giveHome({ home }: World): void {
  spawnSync("chown", ["-R", `${USER}:${USER}`, home.path]);
}

/** The paths of what pi's extension has made there. */
function ours({ home }: World): string[] {
  const paths = Object.keys(home.files()).map((path) => path.replace(/[/@]$/, ""));
  return paths.filter((path) => /^\.kimi|auth\.json|kimi-coder/.test(path));
}

/** Those of them that are not the user's. */
function foreign(world: World): string[] {
  return ours(world).filter((path) => {
    const { uid, gid } = lstatSync(join(world.home.path, path));
    return uid !== USER || gid !== USER;
  });
}

/** kimi-cli runs from this checkout, as the user. */
const hasPeer = isRoot && canRead(USER, fileURLToPath(import.meta.url));
if (isRoot && !hasPeer)
  console.warn("SKIPPED: the user's own kimi-cli, because only root can read this checkout");

describe.skipIf(!isRoot).concurrent.each(hosts)("root with a user's home, on pi $name,", (host) => {
  test.for(["logInToKimiCli", "logInToKimiCode"] as const)(
    "leaves nothing there that the user cannot open (%s)",
    async (login, { world }) => {
      const { service, home, env } = world;
      const { refresh_token } = world[login]("expired");
      home.writeAuth({});
      giveHome(world);
      expect(answered(await printPi(host, home, ["hello"], env()))).toBe(true);
      expect(service.refreshes()).toHaveLength(1);
      expect(ours(world).join()).toMatch(/device_id/);
      expect(foreign(world)).toEqual([]);
      await expectLoginSurvives(host, world, refresh_token);
      expect(foreign(world)).toEqual([]);
    },
  );

  test.skipIf(!hasPeer)("and the user's own kimi-cli renews afterwards", async ({ world }) => {
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

/** Each makes what must stay as it is in a status file's place; gives its paths. */
const traps: Record<string, (path: string, record: string) => readonly string[]> = {
  "a link to a file of the user's": (path, record) => {
    const victim = join(dirname(path), "victim");
    writeFileSync(victim, record);
    symlinkSync(victim, path);
    return [victim, path];
  },
  "another user's file": (path, record) => {
    writeFileSync(path, record);
    chownSync(path, USER, USER);
    return [path];
  },
};

const look = (path: string) => {
  const { ino, uid } = lstatSync(path);
  return { text: readFileSync(path, "utf8"), ino, uid };
};

describe.skipIf(!isRoot).concurrent.each(hosts)("the status file of pi $name", (host) => {
  test.for(Object.entries(traps))("is not written to %s", async ([, make], { world }) => {
    const { home, env, logInToKimiCli } = world;
    logInToKimiCli();
    // Any pi may replace the record of one that has ended, so a planted copy looks like one of ours.
    const earlier = join(home.path, "earlier", "worker.json");
    await printPi(host, home, ["earlier"], env({ KIMI_CODER_STATUS_FILE: earlier }));
    const path = join(home.path, "run", "worker.json");
    mkdirSync(dirname(path));
    const untouched = make(path, readFileSync(earlier, "utf8"));
    const before = untouched.map(look);
    const { stdout, stderr } = await printPi(host, home, ["hello"], env({ KIMI_CODER_STATUS_FILE: path }));
    expect(untouched.map(look)).toEqual(before);
    expect(stdout).toBe("You said: hello\n");
    expect(stderr).toMatch(
      /^Kimi Coder: the status file [^\n]* cannot be written [^\n]*KIMI_CODER_STATUS_FILE\.\n$/,
    );
    expect(stderr).toContain(path);
  });
});
