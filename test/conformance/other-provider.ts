/** Another provider for a conversation to come from: an OpenAI-compatible service that thinks and calls a tool once. */
import { type Loopback, startLoopback } from "../support/loopback.ts";

/** An id in the form of OpenAI's. */
export const OTHER_CALL_ID = "call_A1b2C3d4E5f6A1b2C3d4E5f6";

/** What it thinks. */
export const FOREIGN_THOUGHT = /(?:A|Another) foreign thought\./g;

/** The first request is answered with thinking and a call of bash, all others with a text. */
export function startOtherProvider(): Promise<Loopback> {
  let requests = 0;
  return startLoopback((request, response) => {
    request.resume();
    requests += 1;
    const call = { name: "bash", arguments: '{"command":"echo from elsewhere"}' };
    const parts =
      requests === 1
        ? [
            { reasoning_content: "A foreign thought." },
            { content: "Let me see." },
            { tool_calls: [{ index: 0, id: OTHER_CALL_ID, type: "function", function: call }] },
          ]
        : [{ reasoning_content: "Another foreign thought." }, { content: "Seen elsewhere." }];
    const chunk = (choice: object) =>
      `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "other", choices: [{ index: 0, ...choice }] })}\n\n`;
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const delta of parts) response.write(chunk({ delta, finish_reason: null }));
    response.write(chunk({ delta: {}, finish_reason: requests === 1 ? "tool_calls" : "stop" }));
    response.end("data: [DONE]\n\n");
  });
}

/** pi's models.json for it. */
export function otherProviderModels(url: string): string {
  const models = [{ id: "other", name: "Other", reasoning: true, input: ["text", "image"] }];
  return JSON.stringify({
    providers: { elsewhere: { baseUrl: url, api: "openai-completions", apiKey: "sk-elsewhere", models } },
  });
}
