/** What the hosts' real adapters would send for a conversation: each is run to the point where it shows its payload. */
import { type HostName, runWithAdapter } from "../errors/hosts.ts";

const script = `
  const { conversations, url } = JSON.parse(process.argv[1]);
  const adapter = await import(url);
  const stream = adapter.streamSimpleOpenAICompletions ?? adapter.streamSimple;
  const payloads = [];
  for (const { model, context, options } of conversations) {
    const onPayload = (payload) => {
      payloads.push(payload);
      throw new Error("seen");
    };
    // 1.6.0 takes prompt and tools as the first message of the transcript, 0.73.1 beside the messages.
    const { systemPrompt, tools, messages } = context;
    const first = { role: "system", content: systemPrompt ?? "", toolsAdded: tools ?? [], timestamp: 0 };
    const seen = adapter.streamSimple === undefined ? context : { messages: [first, ...messages] };
    await stream(model, seen, { ...options, apiKey: "key", onPayload }).result();
  }
  process.stdout.write(JSON.stringify(payloads));
`;

/** The payloads of one host, in order. */
export async function adapterPayloads(
  host: HostName,
  conversations: readonly unknown[],
): Promise<readonly unknown[]> {
  const payloads = await runWithAdapter(host, script, { conversations });
  if (!Array.isArray(payloads) || payloads.length !== conversations.length)
    throw new Error("a payload is missing");
  return payloads;
}
