/**
 * An extension for tests, loaded before ours: `/clock <ms>` sets how far pi's clock is off, `/heap` says (as a notice)
 * how many bytes are in use after a garbage collection.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";

export default function (pi: ExtensionAPI): void {
  const real = Date.now;
  let offset = 0;
  Date.now = () => real() + offset;

  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  pi.registerCommand("clock", {
    handler: async (argument) => {
      offset = Number(argument);
    },
  });
  pi.registerCommand("heap", {
    handler: async (_argument, { ui }) => {
      // What finalizers let go of is collected by the second.
      collect();
      await new Promise((resolve) => setImmediate(resolve));
      collect();
      ui.notify(`heap ${process.memoryUsage().heapUsed}`, "info");
    },
  });
}
