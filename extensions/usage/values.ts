/** Single values out of JSON that nobody vouches for. */
import { isJsonObject } from "../oauth/json-object.ts";
import { oneLine } from "../server-text.ts";

/** One printable line of at most 40 characters; undefined where nothing is left. */
export function text(value: unknown): string | undefined {
  const line = typeof value === "string" ? oneLine(value, 40) : "";
  return line === "" ? undefined : line;
}

/** A number, or one in decimal digits. */
export function number(value: unknown): number | undefined {
  if (typeof value === "string") {
    return /^\s*-?\d{1,30}(\.\d{1,30})?\s*$/.test(value) ? Number(value) : undefined;
  }
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

/** The same, above zero. */
export function positive(value: unknown): number | undefined {
  const read = number(value);
  return read !== undefined && read > 0 ? read : undefined;
}

/** What stands at the end of the path. */
export function member(value: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>((at, key) => (isJsonObject(at) ? at[key] : undefined), value);
}

const TIME = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,3})?\d*(Z|[+-]\d\d:\d\d)$/;

/** RFC 3339, with as many digits of a second as the server likes; ms since the epoch. */
export function readTime(value: unknown): number | undefined {
  const [, day, time, fraction = "", zone] = typeof value === "string" ? (TIME.exec(value.trim()) ?? []) : [];
  const at = Date.parse(`${day}T${time}${fraction}${zone}`);
  return Number.isNaN(at) || at <= 0 ? undefined : at;
}
