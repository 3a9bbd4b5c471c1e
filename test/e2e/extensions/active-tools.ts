/** An extension whose command says which tools the model has. */
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";

export default function (pi: ExtensionAPI): void {
  pi.registerCommand("active-tools", {
    description: "Says which tools are active",
    handler: async (_argument, { ui }) => ui.notify(`active: ${pi.getActiveTools().join(" ")}`, "info"),
  });
}
