/**
 * (e) What shaping a request costs: a conversation of 250,000 tokens with 60 tools, and a short one, against
 * `JSON.stringify` of the same body, which is done for every request anyway.
 */
import { performance } from "node:perf_hooks";
import { shapeRequest } from "../../extensions/chat/payload/shape.ts";
import { messagesOf, type Style, toolsOf } from "./conversation.ts";
import { median } from "./measure.ts";
import { type Extent, inPercent, type Row } from "./table.ts";

const ROUNDS = 41;
/** The budget where nothing needs repair: a share of what stringifying takes, and what nobody notices, ms. */
const ALLOWED_SHARE = 0.02;
const ALLOWED_MS = 3;

interface Case {
  readonly name: string;
  readonly messages: number;
  readonly characters: number;
  readonly style: Style;
  /** In tokens: one leaves room in any case, the other does not. */
  readonly contextWindow: number;
}

const names: Readonly<Record<Style, string>> = {
  clean: "clean",
  chinese: "clean, Chinese",
  damaged: "needs repair",
};

const sizes = [
  { messages: 8, characters: 8_000 },
  { messages: 240, characters: 1_000_000 },
  { messages: 2_281, characters: 1_000_000 },
];

const cases: readonly Case[] = sizes.flatMap((size) =>
  (["clean", "chinese", "damaged"] as const).flatMap((style) =>
    [1_048_576, 262_144].map((contextWindow) => ({ ...size, style, contextWindow, name: names[style] })),
  ),
);

interface Measurement extends Case {
  /** Medians, ms. */
  readonly shaping: number;
  readonly stringifying: number;
}

/** Each round makes new message objects, as pi does; the texts and tools are those of the round before. */
function prepare(one: Case) {
  const messages = messagesOf(one.messages, one.characters, one.style);
  const tools = toolsOf(60, one.style);
  const model = {
    id: "kimi-for-coding",
    thinking: "both" as const,
    contextWindow: one.contextWindow,
    maxTokens: 32_768,
  };
  const options = { model, thinkingLevel: "high", sessionId: "session" };
  const times: { shaping: number[]; stringifying: number[] } = { shaping: [], stringifying: [] };
  const round = async () => {
    const payload = { model: "m", messages: messages.map((message) => ({ ...message })), tools };
    const start = performance.now();
    const { body } = await shapeRequest(payload, options);
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

export async function measureShaping({ quick, note }: Extent): Promise<Row[]> {
  note("(e) shaping");
  const prepared = cases.map(prepare);
  for (let round = 0; round < (quick ? 3 : ROUNDS); round++) for (const one of prepared) await one.round();
  return prepared.map(({ result }) => describe(result()));
}

function describe(measurement: Measurement): Row {
  const { name, messages, characters, contextWindow, style, shaping, stringifying } = measurement;
  const allowed = stringifying * ALLOWED_SHARE + ALLOWED_MS;
  const row = {
    part: "e" as const,
    what: `${messages} messages, ${characters / 4} tokens of ${contextWindow}, ${name}`,
    figure: `${shaping.toFixed(2)} ms (${inPercent(shaping / stringifying)} of stringifying)`,
  };
  if (style === "damaged") return { ...row, target: "" };
  return { ...row, target: `≤ ${allowed.toFixed(2)} ms`, met: shaping <= allowed };
}
