/**
 * The text in which pi's adapter reports an error, taken apart. pi 0.73 writes the SDK's `401 <message>`, its successor
 * `401: <body as JSON>`; both add nothing where there was no answer, and the whole page where it was HTML.
 */
import { isJsonObject } from "../oauth/json-object.ts";

export interface AdapterText {
  /** undefined = no answer, or an error in the middle of a stream. */
  readonly status: number | undefined;
  /** `error.type`; 0.73 drops it. */
  readonly type: string;
  /** What the server says, as it says it; of a page its title. */
  readonly message: string;
  /** A proxy's or gateway's page in place of the service's JSON. */
  readonly page: boolean;
  /** How long the server asks to wait, ms; the successor writes it where it is too long for it to wait. */
  readonly retryAfter: number | undefined;
}

const DELAY = /^Server requested (\d{1,7})s retry delay \([^)]*\)\.\s*/;
const STATUS = /^([1-5]\d\d):?(?:\s+|$)/;
const PAGE = /^\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype html|html|head|body|title|h1|center)\b/i;

/** More is read of no error, in characters: a proxy's page may be long. */
const LONGEST = 20_000;

/** Never throws. */
export function readAdapterText(text: string): AdapterText {
  const delay = DELAY.exec(text);
  const answered = text.slice(delay?.[0].length ?? 0, LONGEST);
  const status = STATUS.exec(answered);
  const body = answered.slice(status?.[0].length ?? 0);
  const page = PAGE.test(body);
  return {
    status: status ? Number(status[1]) : undefined,
    ...(page ? { type: "", message: title(body) } : readBody(body)),
    page,
    retryAfter: delay ? Number(delay[1]) * 1000 : undefined,
  };
}

function title(page: string): string {
  return /<title[^>]*>([^<]*)/i.exec(page.slice(0, 10_000))?.[1] ?? "";
}

function readBody(body: string): { type: string; message: string } {
  const plain = { type: "", message: body === "status code (no body)" ? "" : body };
  if (!body.startsWith("{")) return plain;
  const parsed = parse(body) ?? parse(body.slice(0, body.indexOf("\n")));
  const error = isJsonObject(parsed) && isJsonObject(parsed.error) ? parsed.error : parsed;
  if (isJsonObject(error)) {
    const { type, message } = error;
    return {
      type: typeof type === "string" ? type : "",
      message: typeof message === "string" ? message : "",
    };
  }
  // Cut off by the adapter: what is readable of it is read.
  const message = parse(`"${/"message"\s*:\s*"((?:[^"\\]|\\.)*)/.exec(body)?.[1] ?? ""}"`);
  return { type: "", message: typeof message === "string" ? message : "" };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
