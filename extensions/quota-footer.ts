/** Tells the footer what happens in a session; loaded at pi's start, so that what it does is loaded when it is needed. */
import type { ExtensionAPI, ExtensionContext } from "@mariozechner/pi-coding-agent";
import { PROVIDER } from "./configuration.ts";
import type { Lazy } from "./lazy.ts";
import type { Footer } from "./usage/footer.ts";

/** `on`: whether it is wanted. There is none without a screen (or an RPC client), and none while nobody uses Kimi. */
export function followQuota(pi: ExtensionAPI, footer: Lazy<Footer>, on: boolean): void {
  if (!on) return;
  let begun = false;
  const use = (task: (footer: Footer) => unknown) => {
    // Where it cannot be loaded, the request that needs the service says so.
    if (begun)
      void footer
        .load()
        .then(task)
        .catch(() => {});
  };
  const tell = (ctx: ExtensionContext, provider: string | undefined, turnAhead = false) => {
    if (!ctx.hasUI) return;
    const ours = provider === PROVIDER;
    begun ||= ours;
    use(({ update }) => update(ctx, ours, turnAhead));
  };
  pi.on("session_start", (_event, ctx) => tell(ctx, ctx.model?.provider));
  pi.on("model_select", ({ model }, ctx) => tell(ctx, model.provider));
  // After a pause what stands there may be old, and somebody may have logged in.
  pi.on("agent_start", (_event, ctx) => tell(ctx, ctx.model?.provider, true));
  pi.on("turn_end", (_event, ctx) => tell(ctx, ctx.model?.provider));
  pi.on("session_shutdown", () => footer.loaded()?.stop());
}
