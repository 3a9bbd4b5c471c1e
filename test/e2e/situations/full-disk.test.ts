/** A disk that is full when the answer comes: it is written as soon as there is room, whatever the session does. */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect } from "vitest";
import { hosts } from "../../support/hosts.ts";
import { ourModel } from "../../support/pi.ts";
import { startRpc } from "../../support/rpc.ts";
import { expectLoginSurvives, isRenewed, ordinaryLogin, refreshSent } from "../../support/survival.ts";
import { worldTest as test, type World } from "../../support/world.ts";

const canMount = spawnSync("unshare", ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;
if (!canMount) console.warn("SKIPPED: the tests on a full disk, because mount may not");

/** Puts kimi-cli's folder on a disk of its own; gives what fills it and what frees it. */
function smallDisk({ home }: World) {
  const disk = join(home.path, ".kimi");
  mkdirSync(disk);
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=128k", "none", disk]);
  if (mounted.status !== 0) throw new Error(String(mounted.stderr));
  home.atRemoval(() => spawnSync("umount", ["--lazy", disk]));
  const filler = join(disk, "filler");
  return {
    fill() {
      const file = openSync(filler, "w");
      try {
        for (;;) writeSync(file, Buffer.alloc(4096));
      } catch (error) {
        expect(error).toMatchObject({ code: "ENOSPC" });
      } finally {
        closeSync(file);
      }
      expect(statfsSync(disk).bfree).toBe(0);
    },
    free: () => rmSync(filler),
  };
}

describe.skipIf(!canMount).concurrent.each(hosts)("pi $name, whose disk fills in a renewal,", (host) => {
  test.for(["before", "after"] as const)(
    "writes it once the disk is free, with /new %s the answer comes",
    async (moment, { world }) => {
      const { service, home, env } = world;
      const disk = smallDisk(world);
      const { refresh_token } = ordinaryLogin(world, "due");
      const answer = service.hold({ path: "token" });
      const pi = startRpc(host, home, ourModel, env());
      await refreshSent(world);
      disk.fill();
      if (moment === "before") await pi.request({ type: "new_session" });
      answer();
      await service.waitFor(({ kind, finished }) => kind === "refresh" && finished);
      await pause(500);
      if (moment === "after") await pi.request({ type: "new_session" });
      // Nothing asks for the login again after this.
      await pause(500);
      disk.free();
      // The longest pause between two attempts is 30 s.
      await isRenewed(world, refresh_token);
      expect(service.refreshes()).toHaveLength(1);
      await pi.close();
      await expectLoginSurvives(host, world, refresh_token);
    },
  );

  test("answers meanwhile, with a token that had ended", async ({ world }) => {
    const { service, home, env } = world;
    const disk = smallDisk(world);
    const { refresh_token } = ordinaryLogin(world, "expired");
    const answer = service.hold({ path: "token" });
    const pi = startRpc(host, home, ourModel, env());
    await refreshSent(world);
    disk.fill();
    answer();
    expect(JSON.stringify(await pi.prompt("one"))).toContain("You said: one");
    await pi.request({ type: "new_session" });
    expect(JSON.stringify(await pi.prompt("two"))).toContain("You said: two");
    disk.free();
    await isRenewed(world, refresh_token);
    expect(service.refreshes()).toHaveLength(1);
    await pi.close();
    await expectLoginSurvives(host, world, refresh_token);
  });
});
