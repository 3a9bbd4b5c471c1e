/** An extension whose tool shows pictures as tools do: an icon that Kimi cannot decode, and a PNG under another label. */
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";

export const ICON = "AAABAAEAEBAAAAEAIABoBAAAFgAAAA==";
export const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

export default function (pi: ExtensionAPI): void {
  pi.registerTool({
    name: "show_icon",
    label: "Icon",
    description: "Shows the icon of a page",
    parameters: { type: "object", properties: {} },
    execute: async () => ({
      content: [
        { type: "image" as const, data: ICON, mimeType: "image/x-icon" },
        { type: "image" as const, data: PIXEL, mimeType: "application/octet-stream" },
      ],
      details: undefined,
    }),
  });
}
