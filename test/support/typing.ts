/** What a person types into the real pi's screen, however busy it is. */
import { setTimeout as pause } from "node:timers/promises";
import { olderHost, type PiHost } from "./hosts.ts";
import type { TmuxPi } from "./tmux.ts";

/** Types a line and presses Enter until pi has taken it: the newer pi refuses while its start-up goes on. */
export async function enter(pi: TmuxPi, text: string): Promise<void> {
  await pi.waitFor(/\d\.\d%|no-model|no model/i);
  await pi.type(text);
  await pi.waitFor((screen) => editor(screen).includes(text));
  for (let tries = 0; tries < 40 && !(await isTaken(pi, text)); tries++) {
    await pi.key("Enter");
    // Long enough for a busy machine: an Enter too much would answer what the first one has opened.
    await pi.waitFor((screen) => !editor(screen).includes(text), 1_500).catch(() => undefined);
  }
}

/** A screen that is drawn anew lacks the editor for a moment, so one look is not enough. */
async function isTaken(pi: TmuxPi, text: string): Promise<boolean> {
  for (let look = 0; look < 3; look++) {
    if (editor(await pi.screen()).includes(text)) return false;
    await pause(50);
  }
  return true;
}

/** Types the command; the newer pi then asks whether to sign in with an account, which it proposes, or a key. */
export async function enterLogin(pi: TmuxPi, host: PiHost): Promise<void> {
  await enter(pi, "/login kimi-coder");
  if (host === olderHost) return;
  await pi.waitFor("→ Sign in with Kimi");
  await pi.key("Enter");
}

/** What stands between the last two rules of the screen. */
function editor(screen: string): string {
  return screen.split(/─{20,}/).at(-2) ?? "";
}
