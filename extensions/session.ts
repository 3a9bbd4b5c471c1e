/**
 * What happens while a session lives: pi's entry is seeded and kept in line, the login is kept alive, the user hears
 * of it once, and nothing that must not be cut off is cut off at the end.
 */
import type { ExtensionAPI, ExtensionContext } from "@mariozechner/pi-coding-agent";
import type { createBackgroundRefresh } from "./background-refresh.ts";
import type { loadAdapter } from "./chat/adapter.ts";
import { type Configuration, PROVIDER } from "./configuration.ts";
import type { SharedCredential } from "./credentials/shared-credential.ts";
import type { Lazy } from "./lazy.ts";
import type { Catalogue } from "./models/catalogue.ts";

export interface SessionParts {
  readonly configuration: Configuration;
  readonly service: Lazy<{
    readonly credential: SharedCredential;
    readonly catalogue: Catalogue;
    readonly loadAdapter: typeof loadAdapter;
  }>;
  readonly refresh: ReturnType<typeof createBackgroundRefresh>;
  /** Whether a key was given by hand: then the login is none of our business, and nothing is written. */
  readonly hasKey: () => boolean;
  readonly keyArgument: boolean;
}

/** How long a process that ends waits for a refresh it has sent, ms. */
const FAREWELL = 15_000;
/** … and for the list of models, which the next process can ask for as well, ms. */
const MODELS_FAREWELL = 1_000;

/** A token that is not there after so long is being renewed, and the question for it is on its way, ms. */
const RENEWING = 100;

/** How the two hosts are told that auth.json has changed: 0.73 holds it in memory, its successor asks its registry. */
interface Registry {
  readonly authStorage?: { reload(): void };
  refresh(options?: { allowNetwork: boolean; providers: string[] }): unknown;
}

async function reloadEntry(registry: Registry): Promise<void> {
  if (registry.authStorage) registry.authStorage.reload();
  else await registry.refresh({ allowNetwork: false, providers: [PROVIDER] });
}

/**
 * pi 0.73 keeps each error of a failed refresh for ever, and until its stack has been read V8 keeps with it what the
 * functions on it can see: the provider, and so all of an extension that was built for a session long over (1 MB).
 */
function lightenErrors({ authStorage }: Registry): void {
  const errors: unknown = authStorage && Reflect.get(authStorage, "errors");
  if (Array.isArray(errors)) for (const error of errors) void (error instanceof Error && error.stack);
}

export function followSessions(pi: ExtensionAPI, parts: SessionParts) {
  const { configuration, service, refresh } = parts;
  let context: ExtensionContext | undefined;
  const said = new Set<string>();
  /** Whether the process has just begun: the successor of pi 0.73 builds the extension anew for /new and /reload. */
  let isNew = false;

  /** Asks the session that is there now; undefined when it was replaced meanwhile, where pi throws. */
  function ask<T>(question: (ctx: ExtensionContext) => T): T | undefined {
    try {
      return context && question(context);
    } catch {
      return undefined;
    }
  }

  /** Says a thing once per process: in a session with a screen there, else on stderr when it matters. */
  function say(text: string, type: "info" | "warning"): void {
    if (!context || said.has(text)) return;
    said.add(text);
    ask(({ hasUI, ui }) => {
      if (hasUI) ui.notify(text, type);
      else if (type === "warning") console.error(text);
    });
  }

  const chosen = () => ask(({ model }) => model?.provider) === PROVIDER;
  const ownKey = () => parts.hasKey() || (parts.keyArgument && chosen());
  const active = () => configuration.refusal === undefined && !ownKey();

  async function welcome(): Promise<void> {
    const { credential, catalogue } = await service.load();
    const access = await credential.renewal();
    const { ownerName, sayUnavailable } = await import("./sentences.ts");
    if (access.state === "ready") {
      catalogue.keepUp(access.token.accessToken, access.store);
      if (isNew) say(`Kimi Coder: using ${ownerName(access.store.owner)} credentials`, "info");
      return;
    }
    const { reason } = access;
    // Nobody who does not use Kimi wants to hear that there is no login, and what failed in passing is tried again.
    const worthSaying =
      reason.kind === "problem" || (chosen() && reason.kind !== "failed" && reason.kind !== "own-key");
    if (ask(({ hasUI }) => hasUI) && worthSaying) say(sayUnavailable(reason), "warning");
  }

  pi.on("session_start", (event, ctx) => {
    context = ctx;
    isNew ||= event.reason === "startup";
    if (configuration.refusal && ctx.hasUI) say(configuration.refusal, "warning");
    if (!active() || !(ctx.hasUI || chosen())) return;
    refresh.start();
  });

  // Just before pi chooses the key for a request: pi's own refresh, which holds auth.json's lock over the network,
  // must find nothing left to do.
  const beforeRequest = async (_event: unknown, ctx: ExtensionContext) => {
    context = ctx;
    if (!chosen() || !active()) return;
    // Where it cannot be loaded, the request says so.
    const used = await service.load().catch(() => undefined);
    if (!used) return;
    const { credential, loadAdapter } = used;
    const { model } = ctx;
    // What the request needs next is loaded while the authorization server thinks.
    const loading = setTimeout(() => model && loadAdapter(model), RENEWING);
    await credential.current(true).finally(() => clearTimeout(loading));
  };
  pi.on("context", beforeRequest);
  pi.on("session_before_compact", beforeRequest);
  pi.on("session_before_tree", beforeRequest);

  pi.on("session_shutdown", async () => {
    refresh.stop();
    ask(({ modelRegistry }) => lightenErrors(modelRegistry));
    const used = await service.settled();
    await Promise.all([used?.credential.settle(FAREWELL), used?.catalogue.settle(MODELS_FAREWELL)]);
  });

  return {
    /** For print mode, where nobody sees a notice. */
    warnUnwatched: (text: string) => ask(({ hasUI }) => !hasUI && say(text, "warning")),
    /** Shows in pi's footer what a request waits for; undefined takes it away. */
    waiting: (note: string | undefined) =>
      void ask(({ hasUI, ui }) => hasUI && ui.setStatus(`${PROVIDER}-waiting`, note)),
    /** Of the session that is open. */
    id: () => ask(({ sessionManager }) => sessionManager.getSessionId()),
    // Where it cannot be loaded, the request that needs it says so.
    check: () => void welcome().catch(() => {}),
    /** Says in any mode what must be known. */
    warn: (text: string) => say(text, "warning"),
    /** pi's entry has changed; pi says itself what it cannot read. */
    mirrored: () => void ask(({ modelRegistry }) => reloadEntry(modelRegistry).catch(() => {})),
  };
}
