/**
 * (b) From the start of the process until the chat request of a one-shot prompt arrives, and until the process ends,
 * beside pi alone with a key in models.json, beside the newer pi's own provider, and beside kimi-code; (c) what the service is
 * asked before it.
 */
import { hosts, kimiCode, newerHost, type PiHost, root } from "../support/hosts.ts";
import { configureKimiCode } from "../support/peers.ts";
import { ourModel } from "../support/pi.ts";
import { difference, estimate, interleave, median, type Task } from "./measure.ts";
import {
  bareModel,
  builtInModel,
  createScene,
  expireLogin,
  firstChat,
  logInToBuiltIn,
  type Program,
  piProgram,
  type Scene,
  staticModel,
} from "./scene.ts";
import { type Extent, inMs, inPercent, type Row, surplus } from "./table.ts";

/** What the request, and the whole run, may take more than with pi alone. */
const ALLOWED_SHARE = (host: PiHost) =>
  host === newerHost ? { request: 0.06, run: 0.1 } : { request: 0.03, run: 0.03 };
/** How long the token endpoint takes, ms. */
const ROUND_TRIP = 300;
/** What an expired token may cost beside that, ms. */
const ALLOWED_MS = 20;

const prompt = ["-p", "hello"];

export async function measureFirstRequest(extent: Extent): Promise<Row[]> {
  extent.note("(b, c) the chat request");
  const scene = await createScene();
  try {
    scene.service.fault({ path: "token", times: Number.POSITIVE_INFINITY, do: { delay: ROUND_TRIP } });
    const before: number[] = [];
    const walls = new Map<string, number[]>();
    const pi: Record<string, Task> = Object.assign(
      {},
      ...hosts.map((host) => piTasks(scene, host, before, walls)),
    );
    const peers = kimiCodeTasks(scene);
    const samples = await interleave({ ...pi, ...peers }, extent.runs);
    return [
      ...hosts.flatMap((host) => [
        ...compare(host, samples),
        ...compareRuns(host, (name) => walls.get(name)?.slice(1) ?? []),
      ]),
      ...compareToBuiltIn(samples, (name) => walls.get(name)?.slice(1) ?? []),
      ...Object.keys(peers).flatMap((name): Row[] => [
        { part: "b", what: name, target: "", figure: inMs(estimate(samples(name))) },
        ...hosts.map((host): Row => {
          const ours = nameOf(host, name.endsWith("expired") ? "expired" : "fresh");
          const times = median(samples(name)) / median(samples(ours));
          return { part: "b", what: `${name} over ${ours}`, target: "", figure: `${times.toFixed(2)}×` };
        }),
      ]),
      warmStarts(before),
    ];
  } finally {
    await scene.close();
  }
}

type Token = "fresh" | "expired";

const ALONE = "static key, no extension";
/** What pi's loading of any extension takes, whatever is in it. */
const EMPTY = "static key, empty extension";
/** What any provider costs that is an extension of as many modules as ours, whatever is in them. */
const BARE = "static key, provider of empty modules";

/** pi's own provider, with a login of its own. */
const BUILT_IN = "kimi-coding, fresh";

function nameOf(
  host: PiHost,
  what: Token | typeof ALONE | typeof EMPTY | typeof BARE | typeof BUILT_IN,
): string {
  return `pi ${host.name}, ${what}`;
}

function until(scene: Scene, program: Program, prepare = () => {}): Task {
  return async () => {
    prepare();
    return (await firstChat(scene, program)).ms;
  };
}

/**
 * `before` gets how many requests each warm start with a fresh token made before its chat request; `walls` what the runs
 * took to their end, the first of each name being the one that warms up, ms.
 */
function piTasks(
  scene: Scene,
  host: PiHost,
  before: number[],
  walls: Map<string, number[]>,
): Record<string, Task> {
  const ours = piProgram(host, root, [...ourModel, ...prompt]);
  const measured = (name: string, program: Program) => async () => {
    const chat = await firstChat(scene, program);
    const before = walls.get(name) ?? [];
    walls.set(name, [...before, chat.wall]);
    return { chat, isWarm: before.length > 0 };
  };
  const withKey = (name: string, extension: string | undefined, model: readonly string[]): Task => {
    const run = measured(name, piProgram(host, extension, [...model, ...prompt]));
    return async () => {
      if (model === builtInModel) logInToBuiltIn(scene);
      return (await run()).chat.ms;
    };
  };
  const alone = nameOf(host, ALONE);
  const fresh = nameOf(host, "fresh");
  const builtIn = nameOf(host, BUILT_IN);
  const runOurs = measured(fresh, ours);
  return {
    [alone]: withKey(alone, undefined, staticModel),
    [nameOf(host, EMPTY)]: withKey(nameOf(host, EMPTY), scene.emptyExtension, staticModel),
    [nameOf(host, BARE)]: withKey(nameOf(host, BARE), scene.bareProvider, bareModel),
    ...(host === newerHost ? { [builtIn]: withKey(builtIn, undefined, builtInModel) } : {}),
    [fresh]: async () => {
      const { chat, isWarm } = await runOurs();
      if (isWarm) before.push(chat.before.length);
      return chat.ms;
    },
    [nameOf(host, "expired")]: until(scene, ours, () => expireLogin(scene)),
  };
}

function kimiCodeTasks(scene: Scene): Record<string, Task> {
  const { service, home } = scene;
  const env = { KIMI_CODE_NO_AUTO_UPDATE: "1", KIMI_DISABLE_TELEMETRY: "1" };
  const program = { command: kimiCode.program, args: [...kimiCode.script, ...prompt], env };
  const logIn = (token: Token) => () => {
    const issued = service.issueLogin();
    const expires_at = token === "fresh" ? issued.expires_at : service.now() / 1000 - 60;
    home.writeKimiCode({ ...issued, expires_at }, service);
  };
  configureKimiCode(home, service);
  return {
    [`kimi-code ${kimiCode.version}, fresh`]: until(scene, program, logIn("fresh")),
    [`kimi-code ${kimiCode.version}, expired`]: until(scene, program, logIn("expired")),
  };
}

/** The whole run, until the process ends. */
function compareRuns(host: PiHost, walls: (name: string) => readonly number[]): Row[] {
  const alone = walls(nameOf(host, ALONE));
  const base = median(alone);
  const more = difference(walls(nameOf(host, "fresh")), alone);
  const bare = difference(walls(nameOf(host, BARE)), alone);
  const allowed = ALLOWED_SHARE(host).run;
  return [
    {
      part: "b",
      what: `${nameOf(host, BARE)}, whole run: over pi alone`,
      target: "",
      figure: surplus(bare, base),
    },
    {
      part: "b",
      what: `${nameOf(host, "fresh")}, whole run: over pi alone (${inMs(estimate(alone))})`,
      target: `≤ ${inPercent(allowed)}`,
      figure: surplus(more, base),
      met: more.value <= base * allowed,
    },
  ];
}

function compareToBuiltIn(
  samples: (name: string) => readonly number[],
  walls: (name: string) => readonly number[],
): Row[] {
  const builtIn = nameOf(newerHost, BUILT_IN);
  const fresh = nameOf(newerHost, "fresh");
  const row = (what: string, of: (name: string) => readonly number[]): Row => {
    const base = median(of(builtIn));
    const figure = surplus(difference(of(fresh), of(builtIn)), base);
    return { part: "b", what: `${fresh}${what}: over its own kimi-coding`, target: "", figure };
  };
  return [row("", samples), row(", whole run", walls)];
}

function compare(host: PiHost, samples: (name: string) => readonly number[]): Row[] {
  const alone = samples(nameOf(host, ALONE));
  const empty = difference(samples(nameOf(host, EMPTY)), alone);
  const bare = difference(samples(nameOf(host, BARE)), alone);
  const fresh = samples(nameOf(host, "fresh"));
  const base = median(alone);
  const more = difference(fresh, alone);
  const renewal = difference(samples(nameOf(host, "expired")), fresh);
  const part = "b";
  return [
    { part, what: nameOf(host, ALONE), target: "", figure: inMs(estimate(alone)) },
    { part, what: `${nameOf(host, EMPTY)}: over pi alone`, target: "", figure: surplus(empty, base) },
    { part, what: `${nameOf(host, BARE)}: over pi alone`, target: "", figure: surplus(bare, base) },
    { part, what: nameOf(host, "fresh"), target: "", figure: inMs(estimate(fresh)) },
    {
      part,
      what: `${nameOf(host, "fresh")}: over pi alone`,
      target: `≤ ${inPercent(ALLOWED_SHARE(host).request)}`,
      figure: surplus(more, base),
      met: more.value <= base * ALLOWED_SHARE(host).request,
    },
    {
      part,
      what: `${nameOf(host, "expired")}: over fresh, round trip ${ROUND_TRIP} ms`,
      target: `≤ ${ROUND_TRIP + ALLOWED_MS} ms`,
      figure: inMs(renewal),
      met: renewal.value <= ROUND_TRIP + ALLOWED_MS,
    },
  ];
}

function warmStarts(before: readonly number[]): Row {
  const sum = before.reduce((all, one) => all + one, 0);
  const what = `requests before the chat request, in ${before.length} warm starts`;
  return { part: "c", what, target: "0", figure: String(sum), met: sum === 0 && before.length > 0 };
}
