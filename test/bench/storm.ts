/**
 * (d) 16 processes that start at once with one expired token. The slowest of them, less the slowest of 16 with a fresh
 * token, as a multiple of what the token endpoint takes: 1 is a refresh that all wait for, once.
 */
import { hosts, type PiHost, root } from "../support/hosts.ts";
import { ourModel } from "../support/pi.ts";
import { difference, interleave, median } from "./measure.ts";
import { createScene, expireLogin, piProgram, runProgram, type Scene } from "./scene.ts";
import type { Extent, Row } from "./table.ts";

/** How long the token endpoint takes, ms. */
const ROUND_TRIP = 1000;
const ALLOWED = 1.5;

export async function measureStorm(extent: Extent): Promise<Row[]> {
  const scene = await createScene();
  try {
    scene.service.fault({ path: "token", times: Number.POSITIVE_INFINITY, do: { delay: ROUND_TRIP } });
    const rows: Row[] = [];
    for (const host of hosts) rows.push(...(await storms(scene, host, extent)));
    return rows;
  } finally {
    await scene.close();
  }
}

async function storms(scene: Scene, host: PiHost, { runs, quick, note }: Extent): Promise<Row[]> {
  const count = quick ? 2 : 16;
  const rounds = quick ? 1 : Math.max(3, Math.ceil(runs / 4));
  note(`(d) ${count} processes of pi ${host.name}`);
  const { service } = scene;
  const renewals: number[] = [];
  const program = piProgram(host, root, [...ourModel, "-p", "hello"]);
  const slowest = async () => {
    const runs = await Promise.all(Array.from({ length: count }, () => runProgram(scene, program)));
    return Math.max(...runs.map(({ wall }) => wall));
  };
  await runProgram(scene, program);
  const samples = await interleave(
    {
      fresh: slowest,
      expired: async () => {
        const before = service.refreshes().length;
        expireLogin(scene);
        const ms = await slowest();
        renewals.push(service.refreshes().length - before);
        return ms;
      },
    },
    rounds,
    false,
  );
  const { value, error } = difference(samples("expired"), samples("fresh"));
  const what = `${count} × pi ${host.name}, one expired token`;
  const most = Math.max(...renewals);
  return [
    {
      part: "d",
      what: `${what}: the slowest, over that with a fresh one (${median(samples("fresh")).toFixed(0)} ms), in round trips`,
      target: `≤ ${ALLOWED}`,
      figure: `${(value / ROUND_TRIP).toFixed(2)} ± ${(error / ROUND_TRIP).toFixed(2)}`,
      met: value / ROUND_TRIP <= ALLOWED,
    },
    { part: "d", what: `${what}: refreshes`, target: "1", figure: String(most), met: most === 1 },
  ];
}
