/** An extension one of whose tools brings another one in mid-session, as MCP servers do when they have connected. */
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";

/** Kimi takes neither this name nor a schema that says no type. */
export const LATE_NAME = "mcp.box/peek";

const said = (text: string) => ({ content: [{ type: "text" as const, text }], details: undefined });

export default function (pi: ExtensionAPI): void {
  pi.registerTool({
    name: "open_box",
    label: "Open",
    description: "Opens the box",
    parameters: { type: "object", properties: {} },
    async execute() {
      pi.registerTool({
        name: LATE_NAME,
        label: "Peek",
        description: "Looks into the box",
        parameters: { type: "object", properties: { where: { description: "Which corner" } } },
        execute: async (_id: string, given: unknown) => said(`a cat, ${JSON.stringify(given)}`),
      });
      return said("it is open");
    },
  });
}
