/** The answer of `GET /models`, parsed once: what is no model is dropped, what a model says is believed. */
import { isJsonObject, type JsonObject } from "../oauth/json-object.ts";
import type { Effort } from "../request/thinking.ts";
import { oneLine } from "../server-text.ts";

/** A model as the account has it. */
export interface ServerModel {
  /** As requests name it: printable ASCII without spaces. */
  readonly id: string;
  /** Safe to show on one line. */
  readonly name: string;
  /** In tokens. */
  readonly contextLength: number;
  readonly image: boolean;
  /** A toggle, always on, or no thinking at all. */
  readonly thinking: "both" | "only" | "none";
  /** What `effort` may say, weakest first; empty = the model takes none. */
  readonly efforts: readonly Effort[];
  readonly defaultEffort: Effort | undefined;
}

/** More than this lists nobody. */
const MOST_MODELS = 64;
const LONGEST_NAME = 60;
/** What every model of the plan has had at least, in tokens; for an entry that does not say. */
const LEAST_CONTEXT = 262_144;
const LARGEST_CONTEXT = 100_000_000;

const EFFORTS: readonly Effort[] = ["low", "high", "max"];

/** Reads `{data: [{id, …}]}`. Never throws; empty when there is no model in it. The first of two equal ids counts. */
export function parseServerList(body: unknown): readonly ServerModel[] {
  const entries = isJsonObject(body) && Array.isArray(body.data) ? body.data : [];
  const models = new Map<string, ServerModel>();
  for (const entry of entries) {
    if (models.size >= MOST_MODELS) break;
    const model = parseEntry(entry);
    if (model && !models.has(model.id)) models.set(model.id, model);
  }
  return [...models.values()];
}

function parseEntry(entry: unknown): ServerModel | undefined {
  if (!isJsonObject(entry) || typeof entry.id !== "string" || !/^[\w./:@-]{1,100}$/.test(entry.id))
    return undefined;
  const thinking = readThinking(entry);
  const efforts = thinking === "none" ? [] : readEfforts(entry.think_efforts);
  return {
    id: entry.id,
    name:
      (typeof entry.display_name === "string" && oneLine(entry.display_name, LONGEST_NAME)) ||
      oneLine(entry.id, LONGEST_NAME),
    contextLength: readContext(entry.context_length),
    image: entry.supports_image_in === true,
    thinking,
    efforts,
    defaultEffort: readDefault(entry.think_efforts, efforts),
  };
}

/** `supports_thinking_type` says it where it is given; entries of before that field say `supports_reasoning` alone. */
function readThinking({ supports_thinking_type: type, supports_reasoning: reasons }: JsonObject) {
  switch (type) {
    case "only":
    case "both":
      return type;
    case "no":
      return "none";
    default:
      return reasons === true ? "both" : "none";
  }
}

function readContext(value: unknown): number {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value <= LARGEST_CONTEXT
    ? value
    : LEAST_CONTEXT;
}

function readEfforts(value: unknown): readonly Effort[] {
  if (!isJsonObject(value) || value.support !== true || !Array.isArray(value.valid_efforts)) return [];
  const declared: readonly unknown[] = value.valid_efforts;
  return EFFORTS.filter((effort) => declared.includes(effort));
}

function readDefault(value: unknown, efforts: readonly Effort[]): Effort | undefined {
  return isJsonObject(value) ? efforts.find((effort) => effort === value.default_effort) : undefined;
}

/** The models in the service's own form, which `parseServerList` reads back as they are. */
export function toServerList(models: readonly ServerModel[]): { readonly data: readonly JsonObject[] } {
  return {
    data: models.map(({ id, name, contextLength, image, thinking, efforts, defaultEffort }) => ({
      id,
      display_name: name,
      context_length: contextLength,
      supports_image_in: image,
      supports_thinking_type: thinking === "none" ? "no" : thinking,
      think_efforts: { support: efforts.length > 0, valid_efforts: efforts, default_effort: defaultEffort },
    })),
  };
}
