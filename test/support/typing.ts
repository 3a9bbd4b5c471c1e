/** What a person types into the real pi's screen, however busy it is. */
import { olderHost, type PiHost } from "./hosts.ts";
import type { TmuxPi } from "./tmux.ts";

/** Types a line and presses Enter until pi has taken it: the newer pi refuses while its start-up goes on. */
export async function enter(pi: TmuxPi, text: string): Promise<void> {
  await pi.waitFor(/0\.0%|no-model|no model/i);
  await pi.type(text);
  await pi.waitFor((screen) => editor(screen).includes(text));
  for (let tries = 0; editor(await pi.screen()).includes(text) && tries < 40; tries++) {
    await pi.key("Enter");
    await pi.waitFor((screen) => !editor(screen).includes(text), 500).catch(() => undefined);
  }
}

/** Types the command; the newer pi then asks whether to sign in with an account, which it proposes, or a key. */
export async function enterLogin(pi: TmuxPi, host: PiHost): Promise<void> {
  await enter(pi, "/login kimi-coder");
  if (host === olderHost) return;
  await pi.waitFor("→ Sign in with an account");
  await pi.key("Enter");
}

/** What stands between the last two rules of the screen. */
function editor(screen: string): string {
  return screen.split(/─{20,}/).at(-2) ?? "";
}
