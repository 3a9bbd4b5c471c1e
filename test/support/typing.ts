/** What a person types into the real pi's screen, however busy it is. */
import { setTimeout as pause } from "node:timers/promises";
import { olderHost, type PiHost } from "./hosts.ts";
import type { TmuxPi } from "./tmux.ts";

/** What the newer pi answers to Enter while its start-up goes on. */
const REFUSAL = "Startup is still in progress";

/** Types a line and presses Enter until pi has taken it. */
export async function enter(pi: TmuxPi, text: string): Promise<void> {
  await pi.waitFor(/\d\.\d%|no-model|no model/i);
  await pi.type(text);
  await pi.waitFor((screen) => editor(screen).includes(text));
  let refused = false;
  while (!(await isTaken(pi, text))) {
    await pi.key("Enter");
    // An Enter too much would answer what the first one has opened: it waits long for a busy machine.
    const isOver = (screen: string) =>
      !editor(screen).includes(text) || (!refused && screen.includes(REFUSAL));
    const screen = await pi.waitFor(isOver, 10_000).catch(() => "");
    if (refused || !screen.includes(REFUSAL)) continue;
    refused = true;
    // Where pi lists nothing (`quietStartup`), 5 s do.
    await pi.ready(5_000).catch(() => undefined);
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
