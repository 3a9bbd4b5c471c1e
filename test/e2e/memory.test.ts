/** What is left in memory when sessions have been replaced, each after a renewal that failed. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { hosts, root } from "../support/hosts.ts";
import { assistantMessages, ourModel } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { heapOf } from "../support/skewed-clock.ts";
import { createLoggedInWorld } from "../support/world.ts";

const HOUR = 3_600_000;
/** Bytes; pi itself keeps 180 to 450 kB of each, and the extension built anew is more than 1 MB. */
const OF_A_SESSION = 650_000;

test.concurrent.for(hosts)("pi $name lets go of a session whose login failed", async (host, context) => {
  const { service, home, env } = await createLoggedInWorld({}, context.onTestFinished);
  home.write(".pi/agent/settings.json", JSON.stringify({ retry: { enabled: false } }));
  const extension = join(root, "test", "support", "skewed-clock.ts");
  const pi = startRpc(host, home, ["-e", root, ...ourModel], { ...env(), extension });
  service.fault({
    path: "token",
    times: Number.POSITIVE_INFINITY,
    do: { status: 400, body: { error: "invalid_grant" } },
  });
  const heaps: number[] = [];
  for (let session = 0; session < 10; session++) {
    await pi.request({ type: "prompt", message: `/clock ${24 * HOUR}` });
    const [{ errorMessage } = {}] = assistantMessages(await pi.prompt("Hello"));
    expect(errorMessage).toMatch(/Kimi Coder: /);
    await pi.request({ type: "new_session" });
    heaps.push(await heapOf(pi));
  }
  const [, , third = Number.NaN] = heaps;
  console.log(`pi ${host.name}: heap ${heaps.join(" ")}`);
  expect(Number(heaps.at(-1)) - third, heaps.join(" ")).toBeLessThan((heaps.length - 3) * OF_A_SESSION);
  await pi.close();
});
