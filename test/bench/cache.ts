/** (g) What Kimi's prompt cache saves over a session with tools, of what the growing prefix would allow. */
import { isJsonObject } from "../../extensions/lib/json.ts";
import { hosts, type PiHost } from "../support/hosts.ts";
import { assistantMessages, ourModel } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { createScene } from "./scene.ts";
import { type Extent, inPercent, type Row } from "./table.ts";

const TURNS = 20;
const WANTED = 0.95;

export async function measureCache({ note }: Extent): Promise<Row[]> {
  const rows: Row[] = [];
  for (const host of hosts) {
    note(`(g) ${TURNS} turns with tools on pi ${host.name}`);
    rows.push(await converse(host));
  }
  return rows;
}

/** Each turn: a question, a thought with two calls, their results, an answer. */
async function converse(host: PiHost): Promise<Row> {
  const { service, home, close } = await createScene();
  try {
    const rpc = startRpc(host, home, ourModel, { env: { ...service.environment }, timeoutMs: 180_000 });
    for (let turn = 0; turn < TURNS; turn++) {
      const path = `file-${turn}.txt`;
      service.reply(
        {
          thinking: `The file of turn ${turn} has to be written, then read.`,
          toolCalls: [
            { name: "write", arguments: { path, content: `Line of turn ${turn}.\n`.repeat(20) } },
            { name: "bash", arguments: { command: `echo turn ${turn}` } },
          ],
        },
        { thinking: "That went well.", text: `Turn ${turn} is done.` },
      );
      await rpc.prompt(`Do what turn ${turn} is about.`);
    }
    await rpc.close();
    const prompts = service.chats().map(({ usage }) => usage?.prompt_tokens ?? Number.NaN);
    const allowed = sum(prompts.slice(0, -1));
    const share = sum(assistantMessages(rpc.events).map(cacheRead)) / allowed;
    return {
      part: "g",
      what: `pi ${host.name}, ${TURNS} turns, ${prompts.length} requests: cached tokens that pi counts, of the prefix`,
      target: `≥ ${inPercent(WANTED)}`,
      figure: inPercent(share),
      met: share >= WANTED && prompts.length === 2 * TURNS,
    };
  } finally {
    await close();
  }
}

function cacheRead({ usage }: { readonly [key: string]: unknown }): number {
  return isJsonObject(usage) && typeof usage.cacheRead === "number" ? usage.cacheRead : Number.NaN;
}

function sum(values: readonly number[]): number {
  return values.reduce((all, one) => all + one, 0);
}
