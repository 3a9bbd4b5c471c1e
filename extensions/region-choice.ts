/** For which region a login is: said beforehand, or asked on pi's own screen. */
import type { OAuthLoginCallbacks, OAuthSelectOption } from "@mariozechner/pi-ai";
import type { Configuration } from "./configuration.ts";
import { readSmallFileSync } from "./credentials/file.ts";
import { CANCELLED } from "./login.ts";
import { parseRegion, type Region } from "./region.ts";

export interface RegionQuestion {
  /** What is chosen where nobody is asked. */
  readonly usual: Region;
  readonly message: string;
  /** The likeliest first; empty where there is nothing to ask. */
  readonly options: () => readonly RegionOption[];
}

export interface RegionOption extends OAuthSelectOption {
  readonly id: Region;
}

/** What the typed `/login kimi-coder kimi.ai` adds to pi's callbacks. */
export interface RegionCallback {
  readonly region?: Region | undefined;
}

/**
 * The question for this configuration. First comes the region that kimi-code's installer noted in `markerPath`
 * (`~/.kimi-code/region`: `mainland-cn` or `global`), which kimi-code itself follows before its first login.
 */
export function regionQuestion(
  { regions, asksRegion }: Pick<Configuration, "regions" | "asksRegion">,
  markerPath: string,
): RegionQuestion {
  const usual = regions[0].region;
  return {
    usual,
    message: "Which Kimi account? (kimi.ai: outside mainland China)",
    options: () => {
      if (!asksRegion) return [];
      const marker = readSmallFileSync(markerPath);
      const likely = (marker.state === "read" ? parseRegion(marker.text) : undefined) ?? usual;
      const names = regions.map(({ region }) => region);
      return [likely, ...names.filter((name) => name !== likely)].map((id) => ({ id, label: id }));
    },
  };
}

/** What was typed; else what is configured; else the answer. Throws `Login cancelled` where there is none. */
export async function chooseRegion(
  { usual, message, options }: RegionQuestion,
  callbacks: Pick<OAuthLoginCallbacks, "onSelect"> & RegionCallback,
): Promise<Region> {
  if (callbacks.region) return callbacks.region;
  const offered = options();
  if (offered.length < 2 || !callbacks.onSelect) return usual;
  const answer = await callbacks.onSelect({ message, options: [...offered] });
  const chosen = offered.find(({ id }) => id === answer);
  if (!chosen) throw new Error(CANCELLED);
  return chosen.id;
}
