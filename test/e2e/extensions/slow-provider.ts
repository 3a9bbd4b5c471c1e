/** A provider of nobody's, which takes a while to say that it is not configured. */
import { setTimeout as pause } from "node:timers/promises";
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";

export default function (pi: ExtensionAPI): void {
  const apiKey = {
    name: "key",
    check: () => pause(300, undefined),
    resolve: async () => ({ auth: {} }),
  };
  const provider = { id: "slow", name: "Slow", auth: { apiKey }, getModels: () => [] };
  // A whole provider, which pi's older types do not know.
  Reflect.apply(pi.registerProvider, pi, [provider]);
}
