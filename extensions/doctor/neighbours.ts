/**
 * Other extensions for Kimi in the same pi: two that renew one login, or register one command, stand in each other's
 * way. They are told by where they are listed, not by name: a name in a file may be anything, also a secret.
 */
import { basename, resolve } from "node:path";
import { isJsonObject } from "../oauth/json-object.ts";
import { bad, type Check, none, ok } from "./check.ts";

export interface NeighboursSeen {
  readonly settings: readonly SettingsFile[];
  /** The folders in which pi looks for extensions by itself. */
  readonly folders: readonly { readonly shown: string; readonly names: readonly string[] }[];
  /** Commands of extensions: their name, and the file they come from. */
  readonly commands: readonly { readonly name: string; readonly path: string }[];
  /** This extension's own folder. */
  readonly root: string;
}

export interface SettingsFile {
  /** As its path may be shown. */
  readonly shown: string;
  /** Paths in it are relative to this. */
  readonly folder: string;
  /** As it stood there, parsed; undefined where it is absent, "damaged" where it is no JSON. */
  readonly value: unknown;
}

type Kind = "ours" | "kimi" | "moonshot" | "unrelated";

const NAME = "Other extensions for Kimi";
/** Of what is listed in a file, characters: no path or address is longer. */
const LONGEST_SOURCE = 4_096;
/** Of the places that are named. */
const MOST_PLACES = 5;

export function checkNeighbours({ settings, folders, commands, root }: NeighboursSeen): Check {
  const found = [
    ...settings.flatMap((file) => listed(file, root)),
    ...folders.flatMap(({ shown, names }) =>
      names.map((name) => ({ kind: kindOfName(name), where: `a file or folder in ${shown}` })),
    ),
    ...commands
      .filter(({ path }) => !isInside(path, root))
      .map(({ name }) => ({ kind: kindOfName(name), where: "a command of another extension" })),
  ];
  const places = (kind: Kind) => [
    ...new Set(found.filter((one) => one.kind === kind).map(({ where }) => where)),
  ];
  const others = places("kimi");
  if (others.length > 0) {
    const fix =
      "remove it (pi remove, or the line in settings.json): two extensions may renew one login at once";
    return bad(NAME, `there is one: ${sayPlaces(others)}`, fix);
  }
  const own = found.filter(({ kind }) => kind === "ours");
  if (own.length > 1) {
    const where = sayPlaces(own.map((one) => one.where));
    return bad(
      NAME,
      `pi-kimi-coder is installed ${own.length} times: ${where}`,
      "remove all but one (pi remove)",
    );
  }
  const open = places("moonshot");
  return open.length > 0
    ? none(NAME, `one for Moonshot's open platform, which is another service: ${sayPlaces(open)}`)
    : ok(NAME, "none");
}

function sayPlaces(places: readonly string[]): string {
  const more = places.length - MOST_PLACES;
  return [...places.slice(0, MOST_PLACES), ...(more > 0 ? [`${more} more`] : [])].join("; ");
}

function listed({ shown, folder, value }: SettingsFile, root: string) {
  if (!isJsonObject(value)) return [];
  return ["packages", "extensions"].flatMap((key) => {
    const entries = value[key];
    if (!Array.isArray(entries)) return [];
    return entries.flatMap((entry: unknown, index) => {
      const source = isJsonObject(entry) ? entry.source : entry;
      if (typeof source !== "string") return [];
      return [{ kind: kindOfSource(source, folder, root), where: `${key}[${index}] in ${shown}` }];
    });
  });
}

/** `npm:name@version`, `git:host/owner/name@ref`, a URL, or a path. */
function kindOfSource(source: string, folder: string, root: string): Kind {
  if (source.length > LONGEST_SOURCE) return "unrelated";
  if (isInside(resolve(folder, source), root)) return "ours";
  const npm = /^npm:((?:@[^/@]+\/)?[^/@]+)/.exec(source)?.[1];
  if (npm !== undefined) return kindOfName(npm);
  const git = /^(?:git:|https?:|ssh:|git@)/.test(source);
  const parts = source.split(/[/\\:]/).filter(Boolean);
  const own = (parts.at(-1) ?? "").replace(/@.*$/, "").replace(/\.git$/, "");
  const kind = kindOfName(own);
  return kind === "unrelated" && git ? kindOfName(parts.at(-2) ?? "") : kind;
}

function kindOfName(name: string): Kind {
  const lower = basename(name)
    .toLowerCase()
    .replace(/\.[cm]?[jt]s$/, "");
  if (lower === "pi-kimi-coder") return "ours";
  if (/kimi/i.test(name)) return "kimi";
  return /moonshot/i.test(name) ? "moonshot" : "unrelated";
}

function isInside(path: string, root: string): boolean {
  return path === root || path.startsWith(`${root}/`) || path.startsWith(`${root}\\`);
}
