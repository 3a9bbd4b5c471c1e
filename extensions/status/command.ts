/** `/kimi status`, and `/kimi` alone: what this process uses and has sent. Nothing is refreshed, asked for or written. */
import { stat } from "node:fs/promises";
import type { ExtensionAPI, ExtensionCommandContext } from "@mariozechner/pi-coding-agent";
import type { Sight } from "../caller.ts";
import type { Configuration } from "../configuration.ts";
import { keyringOwner, sayKeyring } from "../credentials/keyring.ts";
import type { Versions } from "../identity.ts";
import { sessionUse } from "../quota/session-use.ts";
import { hostsOf } from "../region.ts";
import type { Line, Run } from "../reply.ts";
import type { Runtime } from "../runtime.ts";
import { selectedModel } from "../screen.ts";
import { statusJson } from "./json.ts";
import { overviewLines, type Status, statusLines, type UsableStatus } from "./lines.ts";

export interface StatusParts {
  readonly pi: Pick<ExtensionAPI, "getThinkingLevel">;
  readonly versions: Versions;
  readonly configuration: Configuration;
  readonly runtime: Runtime;
}

export function status(parts: StatusParts): Run {
  return answer(parts, statusLines);
}

export function overview(parts: StatusParts): Run {
  return answer(parts, overviewLines);
}

function answer(parts: StatusParts, toLines: (status: UsableStatus) => readonly Line[]): Run {
  return async ({ ctx, options, reply }) => {
    const status = await gather(parts, ctx);
    const { sight } = status;
    if (options.has("--json")) {
      reply.json(statusJson(status));
      if (sight.kind === "none" && sight.reason === "configuration") reply.fail();
      return;
    }
    if (sight.kind !== "none") return reply.say(toLines({ ...status, sight }));
    const { reason, message } = sight;
    if (reason === "configuration") return reply.complain(message);
    // All that there is to say where no login can be used.
    const inKeyring = reason.kind === "no-login" ? sayInKeyring(parts.configuration) : undefined;
    reply.say([{ text: inKeyring ?? message, tone: "bad" }]);
  };
}

/** Explains why a login in the system's keyring is not found; undefined where there is none. */
function sayInKeyring(configuration: Configuration): string | undefined {
  const owner = keyringOwner(configuration);
  if (owner === undefined) return undefined;
  const { says, fix } = sayKeyring(owner);
  return `Kimi Coder: ${says}; ${fix}.`;
}

async function gather(
  { pi, versions, configuration, runtime }: StatusParts,
  ctx: ExtensionCommandContext,
): Promise<Status> {
  // Read before anything is waited for: the session may be replaced meanwhile.
  const model = selectedModel(ctx);
  const entries = ctx.sessionManager.getEntries();
  const thinking = pi.getThinkingLevel();
  const [sight, identity, usage] = await Promise.all([
    runtime.caller.look(ctx),
    runtime.identity(false),
    runtime.usage.load(),
  ]);
  const region = sight.kind === "none" ? undefined : sight.account?.region;
  const hosts = hostsOf(configuration.regions, region ?? configuration.regions[0].region);
  return {
    versions,
    home: configuration.home,
    sight,
    renewedAt: await renewedAt(sight),
    figures: usage.known(sight),
    hosts,
    userAgent: identity["User-Agent"] ?? "none",
    model,
    thinking,
    last: runtime.lastRequest.look(),
    session: sessionUse(entries),
    now: runtime.clock.now(),
  };
}

/** When the file of the login was written last, ms since the epoch; undefined where no login's file is used. */
async function renewedAt(sight: Sight): Promise<number | undefined> {
  if (sight.kind !== "login" || sight.choice.state !== "use") return undefined;
  const file = await stat(sight.store.path).catch(() => undefined);
  return file?.mtimeMs;
}
