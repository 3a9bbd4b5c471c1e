/**
 * An extension for tests, loaded before ours: `/clock <ms>` sets how far pi's clock is off, `/heap` says (as a notice)
 * how many bytes are in use after a garbage collection.
 */
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";
import { collectGarbage } from "./garbage.ts";
import type { RpcPi } from "./rpc.ts";

/** Bytes in use in a pi that was started with this extension, after a garbage collection. */
export async function heapOf(pi: RpcPi): Promise<number> {
  const from = pi.events.length;
  await pi.request({ type: "prompt", message: "/heap" });
  const { message } = await pi.waitFor((event) => /^heap \d+$/.test(String(event.message)), { from });
  return Number(String(message).split(" ")[1]);
}

export default function (pi: ExtensionAPI): void {
  const real = Date.now;
  let offset = 0;
  Date.now = () => real() + offset;

  pi.registerCommand("clock", {
    handler: async (argument) => {
      offset = Number(argument);
    },
  });
  pi.registerCommand("heap", {
    handler: async (_argument, { ui }) => {
      await collectGarbage();
      ui.notify(`heap ${process.memoryUsage().heapUsed}`, "info");
    },
  });
}
