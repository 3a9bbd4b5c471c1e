/** `/kimi status`: gathers what this process uses and has sent. Nothing is refreshed, asked for or written. */
import { stat } from "node:fs/promises";
import type { ExtensionCommandContext } from "@mariozechner/pi-coding-agent";
import type { LastRequest } from "../chat/last-request.ts";
import { type Configuration, type ConfiguredKey, PROVIDER } from "../configuration.ts";
import { readRotation } from "../credentials/rotations.ts";
import type { Choice } from "../credentials/selection.ts";
import type { Versions } from "../identity.ts";
import { hostsOf, type Region } from "../region.ts";
import type { KeptFigures } from "../usage/kept.ts";
import type { Run } from "./kimi.ts";
import { sessionCache } from "./session-cache.ts";
import { statusJson } from "./status-json.ts";
import { type Credential, type Renewal, statusLines } from "./status-lines.ts";

export interface StatusParts {
  readonly versions: Versions;
  readonly configuration: Configuration;
  /** What the login search finds now. */
  readonly look: () => Promise<Choice>;
  readonly configuredKey: () => ConfiguredKey | undefined;
  /** Whether pi was started with `--api-key`. */
  readonly keyArgument: boolean;
  readonly authPath: string;
  /** Where the pi processes note who renewed what. */
  readonly rotationsPath: string;
  /** The last known figures of the plan, of whoever a request would be sent as. */
  readonly lastFigures: () => Promise<KeptFigures | undefined>;
  /** `keep`: files may be written for it. */
  readonly identity: (keep: boolean) => Promise<Record<string, string>>;
  readonly lastRequest: LastRequest;
  /** ms since the epoch. */
  readonly now: () => number;
}

export function status(parts: StatusParts): Run {
  const { configuration, versions, lastRequest } = parts;
  return async ({ ctx, options, reply }) => {
    if (configuration.refusal) return reply.complain(configuration.refusal);
    // Read before anything is waited for: the session may be replaced meanwhile.
    const { model, entries } = sessionNow(ctx);
    const argument = parts.keyArgument && model?.provider === PROVIDER;
    const [credential, identity, kept] = await Promise.all([
      findCredential(parts, argument),
      parts.identity(false),
      // Of another key than the configured one nothing is known here.
      argument ? undefined : parts.lastFigures(),
    ]);
    const region = regionOf(credential) ?? configuration.regions[0].region;
    const found = {
      versions,
      credential,
      renewal: await findRenewal(parts, credential),
      plan:
        kept?.figures.plan === undefined ? undefined : { name: kept.figures.plan, askedAt: kept.fetchedAt },
      region,
      hosts: hostsOf(configuration.regions, region),
      userAgent: identity["User-Agent"] ?? "none",
      model: model && `${model.provider}/${model.id}`,
      last: lastRequest.look(),
      cache: sessionCache(entries, PROVIDER),
      now: new Date(parts.now()),
    };
    if (options.has("--json")) reply.json(statusJson(found));
    else reply.say(statusLines(found).join("\n"));
  };
}

function sessionNow({ model, sessionManager }: ExtensionCommandContext) {
  return { model, entries: sessionManager.getEntries() };
}

/** In the order in which a request looks for them. */
async function findCredential(parts: StatusParts, argument: boolean): Promise<Credential> {
  if (argument) return { kind: "key", source: "--api-key" };
  const choice = await parts.look();
  if (choice.state === "none" && choice.reason.kind === "own-key")
    return { kind: "key", source: parts.authPath };
  const configured = parts.configuredKey();
  return configured ? { kind: "key", source: configured.source } : { kind: "login", choice };
}

async function findRenewal(
  { rotationsPath }: StatusParts,
  credential: Credential,
): Promise<Renewal | undefined> {
  if (credential.kind === "key" || credential.choice.state !== "use") return undefined;
  const { store, token } = credential.choice;
  const rotation = readRotation(rotationsPath, store.path, token);
  if (rotation) {
    // Process ids come back: one from before this process began is another's.
    const began = Date.now() - process.uptime() * 1000;
    return { by: "pi", own: rotation.pid === process.pid && rotation.at >= began, ...rotation };
  }
  const file = await stat(store.path).catch(() => undefined);
  return file && { by: "other", at: file.mtimeMs };
}

function regionOf(credential: Credential): Region | undefined {
  if (credential.kind === "key") return undefined;
  const { choice } = credential;
  switch (choice.state) {
    case "use":
      return choice.store.region;
    case "mirror":
      return choice.problem.store.region;
    case "none":
      return undefined;
  }
}
