/** One exchange on the socket: how an answer goes out, whole or as a fault wants it. */
import type { ServerResponse } from "node:http";
import type { Answer } from "./answers.ts";
import type { FaultAction } from "./types.ts";

export interface Exchange {
  readonly response: ServerResponse;
  readonly fault: FaultAction | undefined;
  /** Decides, which commits whatever the request asked for. To be called once. */
  readonly decide: () => Answer;
  /** Resolves after `ms`, or never once the service is closed. */
  readonly sleep: (ms: number) => Promise<void>;
}

/** Decides when the fault says so, and sends as much as it lets through. */
export async function answerExchange({ response, fault, decide, sleep }: Exchange): Promise<void> {
  if (!fault) return send(response, decide());
  if ("delay" in fault) {
    const { delay } = fault;
    const answer = decide();
    await (typeof delay === "number" ? sleep(delay) : delay);
    return send(response, answer);
  }
  if ("hang" in fault) {
    if (fault.commit) decide();
    return;
  }
  if ("drop" in fault) {
    if (fault.drop === "after") decide();
    response.socket?.destroy();
    return;
  }
  if ("raw" in fault) {
    response.socket?.end(fault.raw);
    return;
  }
  if ("cutStream" in fault) return sendPart(response, decide(), fault.cutStream, true);
  if ("stallStream" in fault) return sendPart(response, decide(), fault.stallStream, false);
  const contentType =
    fault.contentType ?? (typeof fault.body === "string" ? "text/html" : "application/json");
  const { status, body, headers } = fault;
  return send(response, { status, body, contentType, ...(headers ? { headers } : {}) });
}

function send(response: ServerResponse, answer: Answer): void {
  if (!answer.events) {
    const payload = encode(answer);
    response.writeHead(answer.status, { ...head(answer), "content-length": Buffer.byteLength(payload) });
    response.end(payload);
    return;
  }
  response.writeHead(answer.status, head(answer));
  for (const event of answer.events) response.write(`data: ${event}\n\n`);
  response.end();
}

/** Sends the beginning of an answer: so many events of a stream, or bytes of a body whose whole length it announced. */
function sendPart(response: ServerResponse, answer: Answer, part: number, cut: boolean): void {
  const payload = Buffer.from(encode(answer));
  const length = answer.events ? {} : { "content-length": payload.byteLength };
  const beginning = answer.events
    ? answer.events
        .slice(0, part)
        .map((event) => `data: ${event}\n\n`)
        .join("")
    : payload.subarray(0, part);
  response.writeHead(answer.status, { ...head(answer), ...length });
  response.flushHeaders();
  // An empty write would never call back in some Node versions.
  const sent = () => {
    if (cut) response.socket?.destroy();
  };
  if (beginning.length === 0) setImmediate(sent);
  else response.write(beginning, sent);
}

function head({ contentType, events, headers }: Answer): Record<string, string> {
  const type =
    contentType ?? (events ? "text/event-stream; charset=utf-8" : "application/json; charset=utf-8");
  return { "content-type": type, ...headers };
}

function encode({ body }: Answer): string {
  if (typeof body === "string") return body;
  return body === undefined ? "" : JSON.stringify(body);
}
