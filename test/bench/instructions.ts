/**
 * (h) How many instructions a one-shot prompt takes, counted by valgrind: the same on a busy machine and on a slow one, so
 * it tells what the times of (b) hide. Only where it is asked for: it takes minutes.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hosts, root } from "../support/hosts.ts";
import { ourModel } from "../support/pi.ts";
import { run } from "../support/processes.ts";
import {
  bareModel,
  createScene,
  MODULES,
  type Program,
  piProgram,
  runProgram,
  type Scene,
  staticModel,
} from "./scene.ts";
import { type Extent, inPercent, type Row } from "./table.ts";

/** How many modules each of ours imports. */
const IMPORTS = 3;
/** ms. */
const LONGEST = 900_000;

export async function measureInstructions({ note }: Extent): Promise<Row[]> {
  const scene = await createScene();
  const prompt = ["-p", "hello"];
  const rows: Row[] = [];
  try {
    for (const host of hosts) {
      const bare = (modules: number, imports: number) =>
        piProgram(host, scene.bareProvider(modules, imports), [...bareModel, ...prompt]);
      const alone = await count(scene, piProgram(host, undefined, [...staticModel, ...prompt]));
      const what = `pi ${host.name}, whole run: alone, with a key`;
      rows.push({ part: "h", what, target: "", figure: millions(alone) });
      for (const [name, program] of Object.entries({
        "any provider of one module": bare(1, 0),
        "one of as many, but empty modules": bare(MODULES, 0),
        "one of as many that import one another": bare(MODULES, IMPORTS),
        us: piProgram(host, root, [...ourModel, ...prompt]),
      })) {
        note(`(h) pi ${host.name} with ${name}`);
        const more = (await count(scene, program)) - alone;
        const figure = `+${millions(more)} (${inPercent(more / alone)})`;
        rows.push({ part: "h", what: `pi ${host.name}, whole run: with ${name}`, target: "", figure });
      }
    }
    return rows;
  } finally {
    await scene.close();
  }
}

/** The instructions of a run with all caches filled. */
async function count(scene: Scene, program: Program): Promise<number> {
  const { home, service } = scene;
  for (const _ of [1, 2]) await runProgram(scene, program);
  const log = join(home.path, "valgrind.log");
  const counting = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--smc-check=all-non-file"];
  const { exitCode, stderr } = await run(
    "valgrind",
    [...counting, `--log-file=${log}`, program.command, ...program.args],
    {
      cwd: home.work,
      env: home.env({ ...service.environment, ...program.env }),
      owner: home,
      timeoutMs: LONGEST,
    },
  );
  const [, counted] = /Collected : (\d+)/.exec(readFileSync(log, "utf8")) ?? [];
  if (exitCode !== 0 || counted === undefined) throw new Error(`valgrind gives no count: ${stderr}`);
  return Number(counted);
}

function millions(count: number): string {
  return `${(count / 1e6).toFixed(0)} million`;
}
