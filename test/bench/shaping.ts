/**
 * What shaping costs: a conversation of 250,000 tokens with 60 tools, against `JSON.stringify` of the same body, which
 * is done for every request anyway. The budget is 2 % of that plus 1 ms where nothing needs repair.
 */
import { performance } from "node:perf_hooks";
import { shapeRequest } from "../../extensions/request/shape.ts";
import { messagesOf, type Style, toolsOf } from "./conversation.ts";

const ROUNDS = 41;
const CHARACTERS = 1_000_000;
const ALLOWED_SHARE = 0.02;
const ALLOWED_MS = 1;

interface Case {
  readonly name: string;
  readonly messages: number;
  readonly style: Style;
  /** In tokens: one leaves room in any case, the other does not. */
  readonly contextWindow: number;
  readonly budget: boolean;
}

const windows = [1_048_576, 262_144];
const cases: readonly Case[] = [240, 2_281].flatMap((messages) =>
  windows.flatMap((contextWindow) => [
    { name: "clean", messages, style: "clean" as const, contextWindow, budget: true },
    { name: "clean, Chinese", messages, style: "chinese" as const, contextWindow, budget: true },
    { name: "needs repair", messages, style: "damaged" as const, contextWindow, budget: false },
  ]),
);

interface Measurement extends Case {
  /** Medians, ms. */
  readonly shaping: number;
  readonly stringifying: number;
}

/** Each round makes new message objects, as pi does; the texts and tools are those of the round before. */
function prepare(one: Case) {
  const messages = messagesOf(one.messages, CHARACTERS, one.style);
  const tools = toolsOf(60, one.style);
  const model = {
    id: "kimi-for-coding",
    thinking: "both" as const,
    contextWindow: one.contextWindow,
    maxTokens: 32_768,
  };
  const options = { model, thinkingLevel: "high", sessionId: "session" };
  const times: { shaping: number[]; stringifying: number[] } = { shaping: [], stringifying: [] };
  const round = () => {
    const payload = { model: "m", messages: messages.map((message) => ({ ...message })), tools };
    const start = performance.now();
    const { body } = shapeRequest(payload, options);
    const shaped = performance.now();
    JSON.stringify(body);
    times.shaping.push(shaped - start);
    times.stringifying.push(performance.now() - shaped);
  };
  const result = (): Measurement => ({
    ...one,
    shaping: median(times.shaping),
    stringifying: median(times.stringifying),
  });
  return { round, result };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const prepared = cases.map(prepare);
for (let round = 0; round < ROUNDS; round++) for (const one of prepared) one.round();

const rows = prepared.map(({ result }) => {
  const { name, messages, contextWindow, shaping, stringifying, budget } = result();
  const allowed = stringifying * ALLOWED_SHARE + ALLOWED_MS;
  return {
    conversation: name,
    messages,
    window: contextWindow,
    "shaping, ms": shaping.toFixed(3),
    "stringify, ms": stringifying.toFixed(3),
    "share, %": ((shaping / stringifying) * 100).toFixed(1),
    "allowed, ms": budget ? allowed.toFixed(3) : "",
    kept: budget ? shaping <= allowed : "",
  };
});
console.log(`Node ${process.version}, medians of ${ROUNDS} interleaved rounds`);
console.table(rows);
