/**
 * The names tools have on the wire, and the way back. Kimi: "must start with a letter and can contain letters, numbers,
 * underscores, and dashes"; 64 characters is what the clients of this protocol keep to. MCP bridges use dots, slashes,
 * colons and whole sentences.
 */
import { createHash } from "node:crypto";

export interface ToolNames {
  /** The name to send for one of pi's tools. */
  toKimi(name: string): string;
  /** The pi tool that Kimi means; a name that was never mapped is itself. */
  toPi(name: string): string;
}

const LONGEST = 64;
const ACCEPTED = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

const UNCHANGED: ToolNames = { toKimi: (name) => name, toPi: (name) => name };

/**
 * Maps the names that Kimi refuses. A mapped name depends on the original alone (as long as nobody else bears it), so
 * that the cached prefix survives when tools come and go; no two names share one.
 */
export function toolNames(names: Iterable<string>): ToolNames {
  const refused: string[] = [];
  const taken = new Set<string>();
  for (const name of names) {
    if (ACCEPTED.test(name)) taken.add(name);
    else refused.push(name);
  }
  if (refused.length === 0) return UNCHANGED;

  const toKimi = new Map<string, string>();
  const toPi = new Map<string, string>();
  for (const name of refused.sort()) {
    if (toKimi.has(name)) continue;
    const accepted = acceptedName(name, taken);
    taken.add(accepted);
    toKimi.set(name, accepted);
    toPi.set(accepted, name);
  }
  return { toKimi: (name) => toKimi.get(name) ?? name, toPi: (name) => toPi.get(name) ?? name };
}

function acceptedName(name: string, taken: ReadonlySet<string>): string {
  const readable = name.slice(0, LONGEST).replace(/[^A-Za-z0-9_-]+/g, "_");
  const base = /^[A-Za-z]/.test(readable) ? readable : `tool_${readable.replace(/^_+/, "")}`;
  const digest = createHash("sha256").update(name).digest("hex");
  // Eight digits do; more only where somebody gave a tool the very name that we would make up for another.
  for (let length = 8; length < LONGEST - 8; length += 4) {
    const candidate = `${base.slice(0, LONGEST - 1 - length)}_${digest.slice(0, length)}`;
    if (!taken.has(candidate)) return candidate;
  }
  let number = 2;
  while (taken.has(`tool_${number}`)) number++;
  return `tool_${number}`;
}
