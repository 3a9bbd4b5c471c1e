/** `/kimi status`: gathers what this process uses and has sent. Nothing is refreshed, asked for or written. */
import { stat } from "node:fs/promises";
import type { ExtensionCommandContext, ExtensionContext } from "@mariozechner/pi-coding-agent";
import type { LastRequest } from "../chat/last-request.ts";
import { type Configuration, type ConfiguredKey, PROVIDER } from "../configuration.ts";
import { readRotation } from "../credentials/rotations.ts";
import type { Choice } from "../credentials/selection.ts";
import type { Versions } from "../identity.ts";
import { hostsOf } from "../region.ts";
import { type RequestCredential, regionInUse, requestCredential } from "../request-credential.ts";
import type { KeptFigures } from "../usage/kept.ts";
import type { Run } from "./kimi.ts";
import { sessionCache } from "./session-cache.ts";
import { statusJson } from "./status-json.ts";
import { type Renewal, statusLines } from "./status-lines.ts";

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
  /** The key in `--api-key` or in auth.json, which only pi reads. */
  readonly handKey: (ctx: ExtensionContext) => Promise<string | undefined>;
  /** The last known figures of the plan, of whoever a request would be sent as; `key` is one given by hand. */
  readonly lastFigures: (key: string | undefined) => Promise<KeptFigures | undefined>;
  /** `keep`: files may be written for it. */
  readonly identity: (keep: boolean) => Promise<Record<string, string>>;
  readonly lastRequest: LastRequest;
  /** ms since the epoch. */
  readonly now: () => number;
}

export function status(parts: StatusParts): Run {
  const { configuration, versions, lastRequest } = parts;
  return async ({ ctx, options, reply }) => {
    const json = options.has("--json");
    if (configuration.refusal !== undefined && !json) return reply.complain(configuration.refusal);
    // Read before anything is waited for: the session may be replaced meanwhile.
    const { model, entries } = sessionNow(ctx);
    const [choice, identity, kept] = await Promise.all([
      parts.look(),
      parts.identity(false),
      parts.handKey(ctx).then(parts.lastFigures),
    ]);
    const credential = requestCredential({
      keyArgument: parts.keyArgument && model?.provider === PROVIDER,
      choice,
      configured: parts.configuredKey(),
      authPath: parts.authPath,
    });
    const region = regionInUse(credential, configuration.regions);
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
    if (!json) return reply.say(statusLines(found).join("\n"));
    reply.json(statusJson(found, configuration.refusal));
    if (configuration.refusal !== undefined) reply.fail();
  };
}

function sessionNow({ model, sessionManager }: ExtensionCommandContext) {
  return { model, entries: sessionManager.getEntries() };
}

async function findRenewal(
  { rotationsPath }: StatusParts,
  credential: RequestCredential,
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
