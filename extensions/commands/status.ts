/** `/kimi status`: gathers what this process uses and has sent. Nothing is refreshed, asked for or written. */

import type { LastRequest } from "../chat/last-request.ts";
import { type Configuration, type ConfiguredKey, PROVIDER } from "../configuration.ts";
import type { Choice } from "../credentials/selection.ts";
import type { Versions } from "../identity.ts";
import { hostsOf, type Region } from "../region.ts";
import type { Run } from "./kimi.ts";
import { type Credential, statusLines } from "./status-lines.ts";

export interface StatusParts {
  readonly versions: Versions;
  readonly configuration: Configuration;
  /** What the login search finds now. */
  readonly look: () => Promise<Choice>;
  readonly configuredKey: () => ConfiguredKey | undefined;
  /** Whether pi was started with `--api-key`. */
  readonly keyArgument: boolean;
  readonly authPath: string;
  /** `keep`: files may be written for it. */
  readonly identity: (keep: boolean) => Promise<Record<string, string>>;
  readonly lastRequest: LastRequest;
  /** ms since the epoch. */
  readonly now: () => number;
}

export function status(parts: StatusParts): Run {
  const { configuration, versions, lastRequest } = parts;
  return async ({ ctx: { model }, reply }) => {
    if (configuration.refusal) return reply.complain(configuration.refusal);
    const argument = parts.keyArgument && model?.provider === PROVIDER;
    const [credential, identity] = await Promise.all([
      findCredential(parts, argument),
      parts.identity(false),
    ]);
    const lines = statusLines({
      versions,
      credential,
      hosts: hostsOf(configuration.regions, regionOf(credential) ?? configuration.regions[0].region),
      userAgent: identity["User-Agent"] ?? "none",
      last: lastRequest.look(),
      now: new Date(parts.now()),
    });
    reply.say(lines.join("\n"));
  };
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
