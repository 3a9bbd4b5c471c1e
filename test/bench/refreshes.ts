/**
 * (f) Whether 1,000 background refreshes leave anything behind. The login is renewed in a process of its own (see
 * refreshing.ts), so that the service's log is not in the heap that is measured.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { isJsonObject } from "../../extensions/lib/json.ts";
import { createHome } from "../support/home.ts";
import { root } from "../support/hosts.ts";
import { startKimiService } from "../support/kimi-service/index.ts";
import { run } from "../support/processes.ts";
import type { Extent, Row } from "./table.ts";

const REFRESHES = 1_000;
/** Before the heap is first measured: what is made once is there by then. */
const WARM_UP = 200;
/** What the heap may differ by, bytes: the noise of measuring it. One leaked token a refresh would be 300,000. */
const ALLOWED = 128 * 1024;

const jiti = join(
  dirname(createRequire(import.meta.url).resolve("jiti/package.json")),
  "lib",
  "jiti-cli.mjs",
);

export async function measureRefreshes({ quick, note }: Extent): Promise<Row[]> {
  const refreshes = quick ? 50 : REFRESHES;
  note(`(f) ${refreshes} background refreshes`);
  const service = await startKimiService();
  const home = createHome();
  try {
    home.writeKimiCli(service.issueLogin());
    const script = join(root, "test", "bench", "refreshing.ts");
    const finished = await run(
      process.execPath,
      // What V8 compiles for speed, or forgets to have compiled, is code, not what a refresh leaves behind.
      ["--expose-gc", "--no-opt", "--no-flush-bytecode", jiti, script, String(WARM_UP), String(refreshes)],
      {
        cwd: root,
        env: home.env(service.environment),
        owner: home,
        timeoutMs: 180_000,
      },
    );
    if (finished.exitCode !== 0) throw new Error(`refreshing.ts failed: ${finished.stderr.slice(-1000)}`);
    const { heapBefore, heapAfter, timersBefore, timersAfter } = readReport(finished.stdout);
    const grown = heapAfter - heapBefore;
    const counted = service.refreshes().length;
    const chain = counted === WARM_UP + refreshes && service.reusedRefreshTokens() === 0;
    const part = "f";
    return [
      {
        part,
        what: `heap after ${refreshes} background refreshes (${(heapBefore / 1024).toFixed(0)} KiB before)`,
        target: `≤ ${ALLOWED / 1024} KiB more`,
        figure: `${(grown / 1024).toFixed(0)} KiB`,
        met: grown <= ALLOWED,
      },
      {
        part,
        what: "timers left behind",
        target: "0",
        figure: String(Math.max(0, timersAfter - timersBefore)),
        met: timersAfter <= timersBefore,
      },
      {
        part,
        what: "refreshes the service has seen, no token twice",
        target: String(WARM_UP + refreshes),
        figure: String(counted),
        met: chain,
      },
    ];
  } finally {
    home.remove();
    await service.close();
  }
}

function readReport(stdout: string) {
  const value: unknown = JSON.parse(stdout);
  const read = (name: string) => {
    const number = isJsonObject(value) ? value[name] : undefined;
    if (typeof number !== "number") throw new Error(`refreshing.ts reports no ${name}`);
    return number;
  };
  return {
    heapBefore: read("heapBefore"),
    heapAfter: read("heapAfter"),
    timersBefore: read("timersBefore"),
    timersAfter: read("timersAfter"),
  };
}
