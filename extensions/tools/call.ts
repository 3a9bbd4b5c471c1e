/** A call of one of Kimi's tools, from what the model gave to what it gets: `POST /search` and `POST /fetch`. Loaded by the first one. */
import type { Caller, SessionNow, Usable } from "../caller.ts";
import { type ErrorClass, readAdapterText } from "../chat/errors/classify.ts";
import { type Judge, unlessAborted } from "../chat/stream.ts";
import type { Tool } from "../configuration.ts";
import { type Identity, printable } from "../identity.ts";
import { networkCode, readText, withinTime } from "../lib/http.ts";
import { isJsonObject } from "../lib/json.ts";
import { oneLine, withoutTokens } from "../lib/safe-text.ts";
import { judgeAddress } from "./address.ts";
import { bounded, type Found, readPage, readSearch } from "./answer.ts";

export interface CallParts {
  readonly caller: Pick<Caller, "look" | "bearerFor" | "afterRejection">;
  readonly identity: Identity;
  readonly judge: Judge;
}

export interface Call {
  readonly tool: Tool;
  /** What pi has checked by the tool's schema. */
  readonly given: unknown;
  /** pi's. */
  readonly callId: string;
  readonly session: SessionNow;
  readonly signal: AbortSignal | undefined;
}

/** Results where the model does not say how many; kimi-cli's figure. */
const USUAL_LIMIT = 5;

/** Throws an Error whose message is one sentence for the model and the user. */
export async function call(parts: CallParts, made: Call): Promise<Found> {
  const { tool, given } = made;
  const { query, limit = USUAL_LIMIT, url } = isJsonObject(given) ? given : {};
  switch (tool) {
    case "search": {
      const found = readSearch(await ask(parts, made, { text_query: query, limit }));
      if (!found)
        throw new Error("Kimi Coder: Kimi's answer to the search could not be understood; try again.");
      return bounded(tool, found);
    }
    case "fetch": {
      const address = judgeAddress(String(url));
      if (address.state === "refused") throw new Error(address.why);
      return bounded(tool, readPage(await ask(parts, made, { url: address.url })));
    }
  }
}

/** For each exchange, ms awake. kimi-cli gives a search 30 s; a page may be slow. */
const TIMEOUT: Readonly<Record<Tool, number>> = { search: 30_000, fetch: 60_000 };
/** Bytes. */
const LARGEST_ANSWER = 10 * 1024 * 1024;

const ACCEPT: Readonly<Record<Tool, string>> = { search: "application/json", fetch: "text/markdown" };

interface Answer {
  /** Undefined where there was no answer. */
  readonly status: number | undefined;
  /** Undefined where there is more than anybody reads. */
  readonly text: string | undefined;
  readonly isHtml: boolean;
  /** The system's name for why there was no answer; ETIMEDOUT after our own limit. */
  readonly code: string | undefined;
}

/** The text of the answer to `body`. A 401 costs one renewal and one repetition, as for a request. */
async function ask(parts: CallParts, made: Call, body: object): Promise<string> {
  const { caller } = parts;
  const { session, signal } = made;
  const bearer = usable(
    await unlessAborted(
      caller.look(session).then((sight) => caller.bearerFor(sight)),
      signal,
    ),
  );
  const answer = await exchange(parts, made, body, bearer);
  if (answer.status !== 401 || bearer.state === "key") return textOf(parts, made, bearer, answer);
  const renewed = usable(await unlessAborted(caller.afterRejection(bearer), signal));
  return textOf(parts, made, renewed, await exchange(parts, made, body, renewed));
}

function usable(bearer: Awaited<ReturnType<Caller["bearerFor"]>>): Usable {
  if (bearer.state === "none") throw new Error(bearer.message);
  return bearer;
}

async function exchange(
  { identity }: CallParts,
  { tool, callId, signal }: Call,
  body: object,
  bearer: Usable,
): Promise<Answer> {
  const headers = {
    ...(await identity(bearer.state === "token")),
    Authorization: `Bearer ${bearer.state === "key" ? bearer.key : bearer.accessToken}`,
    Accept: ACCEPT[tool],
    "Content-Type": "application/json",
    "X-Msh-Tool-Call-Id": printable(callId),
  };
  const content = JSON.stringify(body);
  const options = { method: "POST", headers, body: content, redirect: "manual" } as const;
  try {
    return await withinTime(TIMEOUT[tool], signal, async (limit) => {
      const response = await fetch(addressOf(tool, bearer), { ...options, signal: limit });
      const text = await readText(response, LARGEST_ANSWER);
      const isHtml = response.headers.get("content-type")?.includes("html") === true;
      return { status: response.status, text, isHtml, code: undefined };
    });
  } catch (error) {
    signal?.throwIfAborted();
    return { status: undefined, text: undefined, isHtml: false, code: networkCode(error) };
  }
}

function addressOf(tool: Tool, { account }: Usable): string {
  return `${account.baseUrl}/${tool}`;
}

/** What is wrong with this one call: the sentences for requests to a model would name the wrong action. */
const OWN_FAULT: readonly ErrorClass[] = ["rejected", "level", "model", "picture", "overflow", "unknown"];
/** Kimi also answers so where the page itself cannot be had. */
const PAGES_FAULT: readonly ErrorClass[] = ["address", "server", "forbidden"];

const NOT_DONE: Readonly<Record<Tool, string>> = {
  search: "Kimi did not search for this",
  fetch: "Kimi could not fetch this page",
};
const OTHERWISE: Readonly<Record<Tool, string>> = {
  search: "try other words",
  fetch: "try another address, or use bash, for instance with curl",
};

async function textOf(
  { judge }: CallParts,
  { tool }: Call,
  bearer: Usable,
  { status, text, isHtml, code }: Answer,
): Promise<string> {
  const fail = (what: string, quote = "") => {
    const spoken = oneLine(withoutTokens(oneLine(quote, 1_000)), 200);
    return new Error(
      `Kimi Coder: ${NOT_DONE[tool]}${what}; ${OTHERWISE[tool]}.${spoken === "" ? "" : ` (Kimi: ${spoken})`}`,
    );
  };
  if (code === "ETIMEDOUT") throw fail(` within ${TIMEOUT[tool] / 1_000} s`);
  if (status === 200) {
    if (text === undefined) throw fail(`, for it is larger than ${LARGEST_ANSWER / 1024 / 1024} MB`);
    return text;
  }
  const said = status === undefined ? "" : `${status} ${text ?? ""}`;
  const seen = {
    code,
    page: isHtml,
    key: bearer.state === "key",
    region: bearer.account.region,
    address: addressOf(tool, bearer),
  };
  const { kind, sentence } = await judge.judge(said, seen, bearer.account.id);
  const isOwn = OWN_FAULT.includes(kind) || (tool === "fetch" && PAGES_FAULT.includes(kind));
  if (status === undefined || !isOwn) throw new Error(sentence);
  throw fail(` (${status})`, readAdapterText(said).message);
}
