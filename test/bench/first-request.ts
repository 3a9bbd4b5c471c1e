/**
 * (b) From the start of the process until the chat request of a one-shot prompt arrives, beside pi alone with a key in
 * models.json, and beside kimi-code and opencode; (c) what the service is asked before it.
 */
import { hosts, kimiCode, type PiHost, root } from "../support/hosts.ts";
import { configureKimiCode } from "../support/peers.ts";
import { ourModel } from "../support/pi.ts";
import { difference, estimate, interleave, median, type Task } from "./measure.ts";
import { openOpencode } from "./opencode.ts";
import {
  createScene,
  expireLogin,
  firstChat,
  type Program,
  piProgram,
  type Scene,
  staticModel,
} from "./scene.ts";
import { type Extent, inMs, inPercent, type Row, surplus } from "./table.ts";

const ALLOWED_SHARE = 0.03;
/** How long the token endpoint takes, ms. */
const ROUND_TRIP = 300;
/** What an expired token may cost beside that, ms. */
const ALLOWED_MS = 20;

const prompt = ["-p", "hello"];

export async function measureFirstRequest(extent: Extent): Promise<Row[]> {
  extent.note("(b, c) the chat request");
  const scene = await createScene();
  const opencode = extent.peers ? await openOpencode(scene.home, extent.note) : undefined;
  try {
    scene.service.fault({ path: "token", times: Number.POSITIVE_INFINITY, do: { delay: ROUND_TRIP } });
    const before: number[] = [];
    const pi: Record<string, Task> = Object.assign({}, ...hosts.map((host) => piTasks(scene, host, before)));
    const peers: Record<string, Task> = {
      ...kimiCodeTasks(scene),
      ...(opencode ? { [opencode.name]: opencode.untilChat } : {}),
    };
    const samples = await interleave({ ...pi, ...peers }, extent.runs);
    return [
      ...hosts.flatMap((host) => compare(host, samples)),
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
    await opencode?.close();
    await scene.close();
  }
}

type Token = "fresh" | "expired";

const ALONE = "static key, no extension";
/** What pi's loading of any extension takes, whatever is in it. */
const EMPTY = "static key, empty extension";

function nameOf(host: PiHost, what: Token | typeof ALONE | typeof EMPTY): string {
  return `pi ${host.name}, ${what}`;
}

function until(scene: Scene, program: Program, prepare = () => {}): Task {
  return async () => {
    prepare();
    return (await firstChat(scene, program)).ms;
  };
}

/** `before` gets how many requests each warm start with a fresh token made before its chat request. */
function piTasks(scene: Scene, host: PiHost, before: number[]): Record<string, Task> {
  const ours = piProgram(host, root, [...ourModel, ...prompt]);
  const withStaticKey = (extension: string | undefined) =>
    until(scene, piProgram(host, extension, [...staticModel, ...prompt]));
  let warm = false;
  return {
    [nameOf(host, ALONE)]: withStaticKey(undefined),
    [nameOf(host, EMPTY)]: withStaticKey(scene.emptyExtension),
    [nameOf(host, "fresh")]: async () => {
      const chat = await firstChat(scene, ours);
      if (warm) before.push(chat.before.length);
      warm = true;
      return chat.ms;
    },
    [nameOf(host, "expired")]: until(scene, ours, () => expireLogin(scene)),
  };
}

function kimiCodeTasks(scene: Scene): Record<string, Task> {
  const { service, home } = scene;
  const env = { KIMI_CODE_NO_AUTO_UPDATE: "1", KIMI_DISABLE_TELEMETRY: "1" };
  const program = { command: kimiCode.node, args: [kimiCode.cli, ...prompt], env };
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

function compare(host: PiHost, samples: (name: string) => readonly number[]): Row[] {
  const alone = samples(nameOf(host, ALONE));
  const empty = difference(samples(nameOf(host, EMPTY)), alone);
  const fresh = samples(nameOf(host, "fresh"));
  const base = median(alone);
  const more = difference(fresh, alone);
  const renewal = difference(samples(nameOf(host, "expired")), fresh);
  const part = "b";
  return [
    { part, what: nameOf(host, ALONE), target: "", figure: inMs(estimate(alone)) },
    { part, what: `${nameOf(host, EMPTY)}: over pi alone`, target: "", figure: surplus(empty, base) },
    { part, what: nameOf(host, "fresh"), target: "", figure: inMs(estimate(fresh)) },
    {
      part,
      what: `${nameOf(host, "fresh")}: over pi alone`,
      target: `≤ ${inPercent(ALLOWED_SHARE)}`,
      figure: surplus(more, base),
      met: more.value <= base * ALLOWED_SHARE,
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
