/** An extension whose tool Kimi would refuse as it is: a name from an MCP bridge, and a schema that names no types. */
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";

export const REFUSED_NAME = "mcp.notes/find one";

export default function (pi: ExtensionAPI): void {
  pi.registerTool({
    name: REFUSED_NAME,
    label: "Find",
    description: "Finds a note",
    parameters: {
      type: "object",
      properties: {
        word: { description: "What to look for" },
        limit: { type: "integer", anyOf: [{ minimum: 1 }, { const: -1 }] },
        order: { $ref: "#/definitions/order" },
        exact: true,
      },
      required: ["word", "gone"],
      definitions: { order: { enum: ["old", "new"] } },
    },
    execute: async (_id: string, given: unknown) => ({
      content: [{ type: "text" as const, text: `found by ${JSON.stringify(given)}` }],
      details: undefined,
    }),
  });
}
