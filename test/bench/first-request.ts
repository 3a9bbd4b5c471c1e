/**
 * (b) From the start of the process until the chat request of a one-shot prompt arrives, and until the process ends,
 * beside pi alone with a key in models.json, beside what any provider of one module and of as many modules costs, and
 * beside the newer pi's own provider; what a renewal costs, and its two locks alone; (c) what the service is asked
 * before it.
 */
import { hosts, newerHost, type PiHost, root } from "../support/hosts.ts";
import { ourModel } from "../support/pi.ts";
import { run } from "../support/processes.ts";
import { difference, estimate, interleave, median } from "./measure.ts";
import {
  bareModel,
  builtInModel,
  createScene,
  expireLogin,
  logInToBuiltIn,
  MODULES,
  piProgram,
  type Run,
  runProgram,
  type Scene,
  staticModel,
} from "./scene.ts";
import { type Extent, inMs, inPercent, type Row, surplus } from "./table.ts";

/** What the request, and the whole run, may take more than with pi alone. */
const allowedShare = (host: PiHost) =>
  host === newerHost ? { chat: 0.06, wall: 0.1 } : { chat: 0.03, wall: 0.03 };
/** How long the token endpoint takes, ms. */
const ROUND_TRIP = 300;
/** What an expired token may cost beside that, ms. */
const ALLOWED_MS = 20;

export async function measureFirstRequest({ runs, note }: Extent): Promise<Row[]> {
  const scene = await createScene();
  try {
    scene.service.fault({ path: "token", times: Number.POSITIVE_INFINITY, do: { delay: ROUND_TRIP } });
    const rows: Row[] = [];
    const fresh: Run[] = [];
    for (const host of hosts) {
      note(`(b, c) the chat request of pi ${host.name}`);
      const samples = await interleave(tasks(scene, host), runs);
      rows.push(...compare(host, samples));
      fresh.push(...samples("fresh"));
    }
    return [...rows, warmStarts(fresh)];
  } finally {
    await scene.close();
  }
}

function tasks(scene: Scene, host: PiHost): Record<string, () => Promise<Run>> {
  const prompt = ["-p", "hello"];
  const ours = piProgram(host, root, [...ourModel, ...prompt]);
  const alone = piProgram(host, undefined, [...staticModel, ...prompt]);
  const bare = (modules: number) =>
    piProgram(host, scene.bareProvider(modules, 0), [...bareModel, ...prompt]);
  const [one, many] = [bare(1), bare(MODULES)];
  const builtIn = async () => {
    logInToBuiltIn(scene);
    return runProgram(scene, piProgram(host, undefined, [...builtInModel, ...prompt]));
  };
  return {
    alone: () => runProgram(scene, alone),
    one: () => runProgram(scene, one),
    bare: () => runProgram(scene, many),
    ...(host === newerHost ? { "built in": builtIn } : {}),
    locks: () => takeTwoLocks(scene, host),
    fresh: () => runProgram(scene, ours),
    expired: () => {
      expireLogin(scene);
      return runProgram(scene, ours);
    },
  };
}

function compare(host: PiHost, samples: (task: string) => readonly Run[]): Row[] {
  const part = "b";
  const rows = (["chat", "wall"] as const).flatMap((moment): Row[] => {
    const of = (task: string) => samples(task).map((run) => run[moment]);
    const where = `pi ${host.name}, ${moment === "chat" ? "until its request" : "whole run"}`;
    const allowed = allowedShare(host)[moment];
    const base = median(of("alone"));
    const more = difference(of("fresh"), of("alone"));
    const builtIn = surplus(difference(of("fresh"), of("built in")), median(of("built in")));
    const overAlone = (task: string) => surplus(difference(of(task), of("alone")), base);
    const beside = { part, what: `${where}: over its own kimi-coding`, target: "", figure: builtIn } as const;
    return [
      { part, what: `${where}: alone, with a key`, target: "", figure: inMs(estimate(of("alone"))) },
      {
        part,
        what: `${where}: with us, over that`,
        target: `≤ ${inPercent(allowed)}`,
        figure: surplus(more, base),
        met: more.value <= base * allowed,
      },
      { part, what: `${where}: with any provider of one module`, target: "", figure: overAlone("one") },
      {
        part,
        what: `${where}: with one of as many, but empty modules`,
        target: "",
        figure: overAlone("bare"),
      },
      ...(host === newerHost ? [beside] : []),
    ];
  });
  const chats = (task: string) => samples(task).map(({ chat }) => chat);
  const renewal = difference(chats("expired"), chats("fresh"));
  const what = `pi ${host.name}: an expired token over a fresh one, round trip ${ROUND_TRIP} ms`;
  const target = `≤ ${ROUND_TRIP + ALLOWED_MS} ms`;
  const met = renewal.value <= ROUND_TRIP + ALLOWED_MS;
  const locks = { part, what: `pi ${host.name}: of that, two locks by a child each`, target: "" } as const;
  const held = estimate(samples("locks").map(({ wall }) => wall));
  return [...rows, { part, what, target, figure: inMs(renewal), met }, { ...locks, figure: inMs(held) }];
}

/** What any process with this Node pays for two locks, taken one after the other as a renewal does; prints ms. */
const TWO_LOCKS = `
  const { spawn } = await import("node:child_process");
  const { openSync } = await import("node:fs");
  const begun = performance.now();
  for (const name of ["one.lock", "two.lock"]) {
    const stdio = ["ignore", "ignore", "ignore", openSync(name, "a")];
    await new Promise((done) => spawn("flock", ["-x", "3"], { stdio }).once("exit", done));
  }
  console.log(performance.now() - begun);`;

async function takeTwoLocks({ home }: Scene, { program }: PiHost): Promise<Run> {
  const args = ["--input-type=module", "-e", TWO_LOCKS];
  const { stdout } = await run(program, args, { cwd: home.path, env: home.env(), owner: home });
  return { wall: Number(stdout), chat: Number.NaN, before: [] };
}

function warmStarts(runs: readonly Run[]): Row {
  const sum = runs.reduce((all, { before }) => all + before.length, 0);
  const what = `requests before the chat request, in ${runs.length} warm starts`;
  return { part: "c", what, target: "0", figure: String(sum), met: sum === 0 && runs.length > 0 };
}
