/** What the hosts' real adapters would send for a conversation: each is run to the point where it shows its payload. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export type Host = "0.73.1" | "0.87.1";

const hosts = fileURLToPath(new URL("../hosts/node_modules/", import.meta.url));
const modules: Record<Host, string> = {
  "0.73.1": new URL(
    "../../node_modules/@mariozechner/pi-ai/dist/providers/openai-completions.js",
    import.meta.url,
  ).href,
  "0.87.1": new URL(
    "../hosts/node_modules/@earendil-works/pi-ai/dist/api/openai-completions.js",
    import.meta.url,
  ).href,
};

const script = `
  const { conversations, module } = JSON.parse(process.argv[1]);
  const adapter = await import(module);
  const stream = adapter.streamSimpleOpenAICompletions ?? adapter.streamSimple;
  const payloads = [];
  for (const { model, context, options } of conversations) {
    const onPayload = (payload) => {
      payloads.push(payload);
      throw new Error("seen");
    };
    // 0.87.1 takes prompt and tools as the first message of the transcript, 0.73.1 beside the messages.
    const { systemPrompt, tools, messages } = context;
    const first = { role: "system", content: systemPrompt ?? "", toolsAdded: tools ?? [], timestamp: 0 };
    const seen = adapter.streamSimple === undefined ? context : { messages: [first, ...messages] };
    await stream(model, seen, { ...options, apiKey: "key", onPayload }).result();
  }
  process.stdout.write(JSON.stringify(payloads));
`;

/** The payloads of one host, in order. Starts one process: 0.87.1 needs the newer Node. */
export async function adapterPayloads(
  host: Host,
  conversations: readonly unknown[],
): Promise<readonly unknown[]> {
  const node = host === "0.73.1" ? process.execPath : `${hosts}node/bin/node`;
  const argument = JSON.stringify({ conversations, module: modules[host] });
  const { stdout } = await promisify(execFile)(node, ["--input-type=module", "-e", script, argument], {
    maxBuffer: 64 * 1024 * 1024,
  });
  const payloads: unknown = JSON.parse(stdout);
  if (!Array.isArray(payloads) || payloads.length !== conversations.length)
    throw new Error("a payload is missing");
  return payloads;
}
