/**
 * What it takes to look at a value that came from somebody else: plain JSON, and nothing assumed about it.
 *
 * jiti, by which pi loads extensions, hands each module out behind a Proxy, so an imported function costs more to reach
 * (some 100 ns) than these cost to run. Where every message is looked at they are taken out of the import once.
 */
export type JsonObject = Record<string, unknown>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a text says nothing. Stops at the first visible character, so a long text costs no more than a short one. */
export function isBlank(text: string): boolean {
  const first = text.charCodeAt(0);
  // Nearly every text begins with a printable ASCII character, and a regular expression costs ten times as much.
  return !(first > 0x20 && first < 0x7f) && !/\S/.test(text);
}

/** Whether `object` has no key but these. Walks the keys only. */
export function hasOnlyKeys(object: JsonObject, keys: ReadonlySet<string>): boolean {
  for (const key in object) {
    if (!keys.has(key)) return false;
  }
  return true;
}

/** Whether `keys` is the order in which the keys of `object` would be written; absent ones may be left out. */
export function isInOrder(object: JsonObject, keys: readonly string[]): boolean {
  let next = 0;
  for (const key in object) {
    while (next < keys.length && keys[next] !== key) next++;
    if (next === keys.length) return false;
    next++;
  }
  return true;
}
