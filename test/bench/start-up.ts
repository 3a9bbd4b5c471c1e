/** (a) What the extension costs where pi asks nothing of Kimi, or another provider: beside an empty extension, and beside none. */
import { hosts, olderHost, type PiHost, root } from "../support/hosts.ts";
import { ourModel } from "../support/pi.ts";
import { difference, estimate, interleave, median } from "./measure.ts";
import { createScene, piProgram, runProgram, type Scene, staticModel } from "./scene.ts";
import { type Extent, inMs, type Row, surplus } from "./table.ts";

const ALLOWED_MS = 15;
const ALLOWED_SHARE = 0.03;
/** What a list of models may take more than without any extension. */
const ALLOWED_FOR_LIST = 0.05;

type Variant = "none" | "empty" | "ours";
type Measure = (variant: Variant, env: Readonly<Record<string, string>>) => Promise<number>;

export async function measureStartUp(extent: Extent): Promise<Row[]> {
  const scene = await createScene();
  try {
    const rows: Row[] = [];
    for (const host of hosts) {
      // pi has an entry for the login, as it has after the first prompt.
      await runProgram(scene, piProgram(host, root, [...ourModel, "-p", "hello"]));
      for (const [command, measure] of Object.entries(commands(host, scene))) {
        for (const cache of extent.quick ? (["warm"] as const) : (["warm", "cold"] as const)) {
          extent.note(`(a) pi ${host.name} ${command}, ${cache}`);
          rows.push(...(await compare({ scene, host, command, measure, cache }, extent)));
        }
      }
    }
    return rows;
  } finally {
    await scene.close();
  }
}

function commands(host: PiHost, scene: Scene): Readonly<Record<string, Measure>> {
  const extensions = { none: undefined, empty: scene.emptyExtension, ours: root };
  return {
    "--list-models": async (variant, env) =>
      (await runProgram(scene, piProgram(host, extensions[variant], ["--list-models"], env))).wall,
    // Until another provider's chat request.
    "-p": async (variant, env) => {
      const args = [...staticModel, "-p", "hello"];
      return (await runProgram(scene, piProgram(host, extensions[variant], args, env))).chat;
    },
  };
}

interface Comparison {
  readonly scene: Scene;
  readonly host: PiHost;
  readonly command: string;
  readonly measure: Measure;
  readonly cache: "warm" | "cold";
}

async function compare(comparison: Comparison, { runs, quick }: Extent): Promise<Row[]> {
  const { scene, host, command, measure, cache } = comparison;
  const cold = cache === "cold";
  const task = (variant: Variant) => () =>
    measure(variant, cold ? { TMPDIR: scene.newTemporary(), NODE_COMPILE_CACHE: "" } : {});
  const tasks = { none: task("none"), empty: task("empty"), ours: task("ours") };
  const samples = await interleave(tasks, cold ? Math.ceil(runs / 3) : runs, !cold && !quick);
  const ours = samples("ours");
  const where = `pi ${host.name} ${command}, ${cache}`;
  return (["empty", "none"] as const).map((other): Row => {
    const base = median(samples(other));
    const more = difference(ours, samples(other));
    const what = `${where}: over ${other === "none" ? "none" : "an empty extension"} (${inMs(estimate(samples(other)))})`;
    const figure = surplus(more, base);
    if (!cold && other === "none" && command === "--list-models") {
      const target = `≤ ${ALLOWED_FOR_LIST * 100} %`;
      return { part: "a", what, target, figure, met: more.value <= base * ALLOWED_FOR_LIST };
    }
    if (cold || other === "none" || host !== olderHost) return { part: "a", what, target: "", figure };
    const met = more.value <= ALLOWED_MS && more.value <= base * ALLOWED_SHARE;
    return { part: "a", what, target: `≤ ${ALLOWED_MS} ms, ≤ ${ALLOWED_SHARE * 100} %`, figure, met };
  });
}
