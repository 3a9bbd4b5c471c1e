/**
 * The open session, and its only owner: what is said in it, its status line, its id and model. A program that follows pi
 * is told the same; see worker/.
 */
import type { Api, Model } from "@mariozechner/pi-ai";
import type { ExtensionContext } from "@mariozechner/pi-coding-agent";
import type { ErrorClass } from "./chat/errors/classify.ts";
import { FIRST_MODEL, PROVIDER } from "./configuration.ts";
import type { Unavailable } from "./credentials/login.ts";

/** Why a request fails: what the service said, or why nothing was sent. */
export type Why = ErrorClass | Unavailable | "configuration";

/** What keeps a program informed of what a person sees; see worker/. */
export interface Watcher {
  /** Says that a request waits, and for what; undefined = it goes on. Never throws. */
  readonly waiting: (note: string | undefined) => void;
  /** Says why a request fails, with the sentence that pi is about to show. Never throws. */
  readonly noteFailure: (sentence: string, why: Why) => void;
}

/** How the two hosts are told that auth.json has changed: 0.73 holds it in memory, its successor asks its registry. */
interface Registry {
  readonly authStorage?: { reload(): void };
  refresh(options?: { allowNetwork: boolean; providers: string[] }): unknown;
}

/** The id and the provider of what pi 0.87 and later keep in a model's place where none is selected. */
const NO_MODEL = "unknown";

/** The model that is selected, of whatever provider; undefined where none is. */
export function selectedModel({ model }: Pick<ExtensionContext, "model">): ExtensionContext["model"] {
  return model?.provider === NO_MODEL ? undefined : model;
}

export class Screen {
  private context: ExtensionContext | undefined;
  private watcher: Watcher | undefined;
  private readonly said = new Set<string>();
  private unwatched: string | undefined;
  /** pi's stand-in for no model, while it must not be taken for that. */
  private renamed: { id: string } | undefined;
  /** pi's reading of auth.json, as far as we asked for it. */
  private reading: Promise<unknown> = Promise.resolve();
  private isEnding = false;

  /** From now on this session is the open one. */
  open(context: ExtensionContext): void {
    this.context = context;
  }

  /** From now on a program is told, too. */
  watchedBy(watcher: Watcher | undefined): void {
    this.watcher = watcher;
  }

  /** Asks the session that is there now; undefined when it was replaced meanwhile, where pi throws. */
  ask<T>(question: (context: ExtensionContext) => T): T | undefined {
    try {
      return this.context && question(this.context);
    } catch {
      return undefined;
    }
  }

  /** Whether somebody sees notices: in a terminal, or beyond RPC. */
  get isWatched(): boolean {
    return this.ask(({ hasUI }) => hasUI) === true;
  }

  /** Whether a model of ours is selected. */
  get isOurs(): boolean {
    return this.ask(({ model }) => model?.provider) === PROVIDER;
  }

  get sessionId(): string | undefined {
    return this.ask(({ sessionManager }) => sessionManager.getSessionId());
  }

  /** Says a thing once, until pi builds the extension anew: on the screen, else on stderr when it matters. */
  say(text: string, type: "info" | "warning"): void {
    if (!this.context || this.said.has(text)) return;
    this.said.add(text);
    this.ask(({ hasUI, ui }) => {
      if (hasUI) ui.notify(text, type);
      else if (type === "warning") console.error(text);
    });
  }

  /**
   * What pi itself swallows where there is no screen, an overflow with nothing left to compact: said when the session
   * ends, for pi may yet help itself. undefined = it is over.
   */
  sayAtEnd(text: string | undefined): void {
    this.unwatched = text;
  }

  /**
   * After a login of ours, before pi goes on, where no model is selected: lets `select` select one. pi then says in red
   * that it knows no default model for us, and by the model from before its dialog; that is the stand-in it keeps for none,
   * told by its name, so until the session ends it goes by another.
   */
  async selectFirst(select: (model: Model<Api>) => Promise<boolean>): Promise<void> {
    const none = this.ask(({ model }) => model);
    if (none?.provider !== NO_MODEL) return;
    await this.refreshRegistry();
    const first = this.ask(({ modelRegistry }) => modelRegistry.find(PROVIDER, FIRST_MODEL));
    if (!first || !(await select(first).catch(() => false))) return;
    none.id = PROVIDER;
    this.renamed = none;
  }

  /** Shows in pi's footer what a request waits for; undefined takes it away. */
  showWaiting(note: string | undefined): void {
    this.ask(({ hasUI, ui }) => hasUI && ui.setStatus(`${PROVIDER}-waiting`, note));
    this.watcher?.waiting(note);
  }

  /** Tells of a failure whose sentence pi is about to show. */
  noteFailure(sentence: string, why: Why): void {
    this.watcher?.noteFailure(sentence, why);
  }

  /** pi's entry has changed on disk; pi says itself what it cannot read. */
  reloadEntry(): void {
    if (this.isEnding) return;
    const isReloaded = this.ask(({ modelRegistry }) => {
      const { authStorage }: Registry = modelRegistry;
      authStorage?.reload();
      return authStorage !== undefined;
    });
    if (isReloaded === false) this.reading = Promise.all([this.reading, this.refreshRegistry()]);
  }

  /**
   * For the end of the process: from now on pi is not told to read auth.json, and what it reads is waited for. pi 1.6.0
   * takes its lock for that, and a process that ends then leaves the lock behind: the next pi waits 30 s for it.
   */
  async end(): Promise<void> {
    this.isEnding = true;
    await this.reading;
  }

  /** Never rejects. */
  private async refreshRegistry(): Promise<void> {
    try {
      await this.ask(({ modelRegistry }) => {
        const registry: Registry = modelRegistry;
        return registry.refresh({ allowNetwork: false, providers: [PROVIDER] });
      });
    } catch {
      // pi says itself what it cannot read.
    }
  }

  /** The session ends. */
  close(): void {
    if (this.unwatched !== undefined && !this.isWatched) this.say(this.unwatched, "warning");
    this.unwatched = undefined;
    if (this.renamed) this.renamed.id = NO_MODEL;
    this.renamed = undefined;
    this.ask(({ modelRegistry }) => lightenErrors(modelRegistry));
  }
}

/**
 * pi 0.73 keeps each error of a failed refresh for ever, and until its stack has been read V8 keeps with it what the
 * functions on it can see: the provider, and so all of an extension that was built for a session long over (1 MB).
 */
function lightenErrors({ authStorage }: { readonly authStorage?: unknown }): void {
  const errors: unknown =
    typeof authStorage === "object" && authStorage !== null && Reflect.get(authStorage, "errors");
  if (Array.isArray(errors)) for (const error of errors) void (error instanceof Error && error.stack);
}
