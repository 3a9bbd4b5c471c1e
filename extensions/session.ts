/**
 * What happens while a session lives: the login is kept alive, the user hears of it once, the footer is told what goes on,
 * and nothing that must not be cut off is cut off at the end.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ExtensionAPI, ExtensionContext } from "@mariozechner/pi-coding-agent";
import { type Configuration, PROVIDER } from "./configuration.ts";
import { inTurn, type Lazy, lazy } from "./lib/lazy.ts";
import type { Moment } from "./quota/footer.ts";
import type { Runtime } from "./runtime.ts";
import type { Screen } from "./screen.ts";

export interface SessionParts {
  readonly configuration: Configuration;
  readonly screen: Screen;
  readonly runtime: Lazy<Runtime>;
  /** Whether a key was given by hand: then the login is none of our business, and nothing is written. */
  readonly hasKey: () => boolean;
}

/**
 * How long a process that ends waits for the list of models, which the next process can ask for as well, and for pi's
 * reading of auth.json, for which another program may hold pi's lock, ms.
 */
const FAREWELL = 1_000;

export function followSessions(
  pi: ExtensionAPI,
  { configuration, screen, runtime, hasKey }: SessionParts,
): void {
  /** Whether the process has just begun: pi builds the extension again for /new and /reload. */
  let isNew = false;
  // Where it cannot be loaded, the request that needs it says so.
  const check = () => void keepFresh().catch(() => {});
  const timer = createTimer(check, () => runtime.loaded()?.login.expiresAt());

  async function keepFresh(): Promise<void> {
    const { login, catalogue, caller } = await runtime.load();
    const access = await login.keepFresh();
    const { ownerName, sayUnavailable } = await inTurn(() => import("./messages.ts"));
    if (access.state === "ready") {
      const { token, store } = access;
      catalogue.keepUp(token.accessToken, caller.accountOf(store));
      if (isNew && screen.isOurs)
        screen.say(`Kimi Coder: using ${ownerName(store.owner)} credentials`, "info");
      return;
    }
    const { reason } = access;
    // Nobody who does not use Kimi wants to hear that there is no login, and what failed in passing is tried again.
    const isWorthSaying =
      reason.kind === "problem" || (screen.isOurs && reason.kind !== "failed" && reason.kind !== "own-key");
    if (isWorthSaying) screen.say(sayUnavailable(reason), "warning");
  }

  pi.on("session_start", (event, context) => {
    screen.open(context);
    isNew ||= event.reason === "startup";
    if (!context.hasUI) return; // there only a request needs the login, and looks after it itself
    if (configuration.refusal) screen.say(configuration.refusal, "warning");
    else if (!hasKey()) timer.start();
  });

  pi.on("session_shutdown", async ({ reason }) => {
    timer.stop();
    screen.close();
    // A renewal belongs to the process: /new and /reload leave it to the next instance of this extension.
    if (!isEnd(reason)) return;
    const used = await runtime.settled();
    const late = sleep(FAREWELL, undefined, { ref: false });
    await Promise.all([used?.login.end(), used?.catalogue.end(late), Promise.race([screen.end(), late])]);
  });
}

/** Whether the process ends with the session; pi before 0.58 gives no reason. */
function isEnd(reason: string | undefined): boolean {
  return reason === undefined || reason === "quit";
}

/** How often the login is looked at, ms. */
const CHECK_EVERY = 600_000;
/** How often the clock is looked at, ms: that a laptop slept is noticed this soon after it woke. */
const TICK = 30_000;
/** An access token that ends before this is not left to the next check, ms. */
const ENDING = 90_000;
/** … but looked at again only after this, ms, in case the network is away. */
const ENDING_AGAIN = 120_000;

/** Whether the login has to be looked at now. All in ms since the epoch; `expiresAt`: when the access token ends. */
export function isCheckDue(now: number, lastCheck: number, expiresAt: number | undefined): boolean {
  const age = now - lastCheck;
  // A clock that was set back would otherwise silence the timer.
  if (age >= CHECK_EVERY || age < 0) return true;
  return expiresAt !== undefined && expiresAt - now < ENDING && age >= ENDING_AGAIN;
}

/** The timer that keeps the login alive: one, however often it is started. `check` must not throw. */
function createTimer(check: () => void, expiresAt: () => number | undefined) {
  let timer: NodeJS.Timeout | undefined;
  return {
    /** Checks at once, and from then on. */
    start(): void {
      clearInterval(timer);
      let lastCheck = Date.now();
      check();
      timer = setInterval(() => {
        const now = Date.now();
        if (!isCheckDue(now, lastCheck, expiresAt())) return;
        lastCheck = now;
        check();
      }, TICK).unref();
    },
    stop: () => clearInterval(timer),
  };
}

/**
 * Tells the footer what happens. `on`: whether one is wanted. There is none without a screen (or an RPC client), and none
 * while nobody uses Kimi.
 */
export function followQuota(
  pi: ExtensionAPI,
  screen: Pick<Screen, "ask">,
  runtime: Lazy<Pick<Runtime, "usage" | "clock">>,
  on: boolean,
): void {
  if (!on) return;
  const footer = lazy(async () => {
    const [{ createFooter }, used] = await Promise.all([
      inTurn(() => import("./quota/footer.ts")),
      runtime.load(),
    ]);
    return createFooter({ pi, screen, usage: await used.usage.load(), now: used.clock.now });
  });
  let begun = false;
  const tell = (ctx: ExtensionContext, provider: string | undefined, moment: Moment) => {
    const ours = provider === PROVIDER;
    begun ||= ours && ctx.hasUI;
    if (!begun || !ctx.hasUI) return;
    // Where it cannot be loaded, the request that needs the service says so.
    void footer
      .load()
      .then(({ update }) => update(ctx, ours, moment))
      .catch(() => {});
  };
  pi.on("session_start", (_event, ctx) => tell(ctx, ctx.model?.provider, "session"));
  pi.on("model_select", ({ model }, ctx) => tell(ctx, model.provider, "model"));
  // After a pause what stands there may be old, and somebody may have logged in.
  pi.on("agent_start", (_event, ctx) => tell(ctx, ctx.model?.provider, "prompt"));
  pi.on("turn_end", (_event, ctx) => tell(ctx, ctx.model?.provider, "turn"));
  pi.on("session_shutdown", () => footer.loaded()?.stop());
}
