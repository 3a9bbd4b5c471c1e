/** Whether somebody sits at pi's own screen: only there are components of ours drawn. */
import type { ExtensionContext } from "@mariozechner/pi-coding-agent";

/** `arguments_` are those of the process; pi 0.73 tells extensions nothing about its mode. */
export function isTerminal(
  ctx: Pick<ExtensionContext, "hasUI">,
  arguments_: readonly string[] = process.argv,
): boolean {
  if ("mode" in ctx && typeof ctx.mode === "string") return ctx.mode === "tui";
  return ctx.hasUI && !arguments_.some((word, index) => word === "--mode" && arguments_[index + 1] === "rpc");
}
