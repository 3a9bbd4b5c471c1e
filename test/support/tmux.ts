/** Programs, most of all the real pi, in a real terminal: a tmux server of its own, whose socket lies in the test's home. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe } from "vitest";
import type { Home } from "./home.ts";
import type { PiHost } from "./hosts.ts";
import { type PiOptions, piArguments, piSurroundings } from "./pi.ts";
import { run } from "./processes.ts";
import { keepTrace } from "./secrets.ts";
import { eventually, PATIENCE } from "./waiting.ts";

export interface TmuxPi {
  /** Waits until pi lists its extensions: before that the newer host takes keys but no Enter. */
  ready(timeoutMs?: number): Promise<string>;
  /** Types a line and presses Enter. */
  submit(line: string): Promise<void>;
  /** Types text, without Enter. */
  type(text: string): Promise<void>;
  /** Presses a key by tmux's name: `Enter`, `Escape`, `Tab`, `Up`, `C-c`, … */
  key(...names: string[]): Promise<void>;
  /** What is on the screen now. */
  screen(): Promise<string>;
  /** The screen with its colours, as terminal escapes, and the spaces at the ends of its lines. */
  styled(): Promise<string>;
  /** The screen and everything that scrolled off it. */
  history(): Promise<string>;
  /** Waits until the screen has it; gives the screen. Throws with the screen after `timeoutMs` (default: PATIENCE). */
  waitFor(wanted: string | RegExp | ((screen: string) => boolean), timeoutMs?: number): Promise<string>;
  /** Gives the terminal another size. */
  resize(width: number, height: number): Promise<void>;
  /** Waits until pi has ended; gives its exit status. */
  ended(timeoutMs?: number): Promise<number>;
  /** Ends the server and with it pi, as the home's removal does. May be called twice. */
  close(): Promise<void>;
}

interface TmuxOptions extends Omit<PiOptions, "stdin" | "timeoutMs"> {
  /** Default 110 × 40. */
  readonly width?: number;
  readonly height?: number;
}

let terminals = 0;

const missing = spawnSync("tmux", ["-V"]).status !== 0;

/** `describe`, or, where there is no tmux, a skip that says so aloud. */
export const describeInTmux = missing ? announceSkip() : describe;

function announceSkip() {
  console.warn("tmux is not installed: the tests of pi's terminal are SKIPPED. Install tmux to run them.");
  return describe.skip;
}

/** Starts pi in a terminal of its own. */
export function startTmux(
  host: PiHost,
  home: Home,
  args: readonly string[],
  options: TmuxOptions = {},
): Promise<TmuxPi> {
  return startTerminal([host.program, ...piArguments(host, args, options.extension)], home, options);
}

/** Starts any command in a terminal of its own; what is said of pi is then said of it. */
export async function startTerminal(
  command: readonly string[],
  home: Home,
  options: Omit<TmuxOptions, "extension"> = {},
): Promise<TmuxPi> {
  const { width = 110, height = 40 } = options;
  const surroundings = piSurroundings(home, options);
  // Not the last one's: its server may still be ending.
  const socket = join(home.path, "bin", `tmux-${++terminals}`);
  // tmux itself sometimes never learns it.
  const status = join(home.path, "bin", `status-${terminals}`);
  const tmux = async (...words: string[]): Promise<string> => {
    const { stdout, stderr, exitCode } = await run("tmux", ["-S", socket, "-f", "/dev/null", ...words], {
      ...surroundings,
      timeoutMs: PATIENCE,
      traced: false,
    });
    if (exitCode !== 0) throw new Error(`tmux ${words[0]}: ${stderr.trim()}`);
    return stdout;
  };
  let shown = "";
  const capture = async (...more: string[]) => {
    const screen = await tmux("capture-pane", "-p", ...more);
    if (screen !== shown) keepTrace("screen", screen);
    shown = screen;
    return screen;
  };

  keepTrace("argv", command.join("\n"));
  keepTrace("environment", JSON.stringify(surroundings.env));
  home.atRemoval(() => {
    const { stdout } = spawnSync("tmux", ["-S", socket, "capture-pane", "-p", "-S", "-"], {
      encoding: "utf8",
    });
    keepTrace("screen", stdout);
    spawnSync("tmux", ["-S", socket, "kill-server"]);
  });
  await tmux(
    ...["start-server", ";", "set-option", "-g", "remain-on-exit", "on", ";"],
    ...["set-option", "-g", "status", "off", ";", "set-option", "-g", "history-limit", "5000", ";"],
    ...["new-session", "-d", "-x", String(width), "-y", String(height), "-c", surroundings.cwd, "--"],
    // Ctrl+C is for the command: the shell stays to write down how that ended.
    ...["sh", "-c", 'trap : INT; "$@"; echo $? >"$0.part"; mv "$0.part" "$0"', status, ...command],
  );

  const type = async (text: string) => {
    await tmux("send-keys", "-l", "--", text);
  };
  const key = async (...names: string[]) => {
    await tmux("send-keys", "--", ...names);
  };
  const waitFor: TmuxPi["waitFor"] = (wanted, timeoutMs = PATIENCE) => {
    let last = "";
    const found = (screen: string) => {
      if (typeof wanted === "string") return screen.includes(wanted);
      return wanted instanceof RegExp ? wanted.test(screen) : wanted(screen);
    };
    return eventually(
      async () => {
        last = await capture();
        return found(last) ? last : undefined;
      },
      () => `the screen never had ${String(wanted)}:\n${last}`,
      timeoutMs,
    );
  };

  let closed = false;
  return {
    type,
    key,
    async submit(line) {
      await type(line);
      await key("Enter");
    },
    ready: (timeoutMs) => waitFor("[Extensions]", timeoutMs),
    waitFor,
    screen: () => capture(),
    styled: () => capture("-e", "-N"),
    history: () => capture("-S", "-"),
    async resize(columns, rows) {
      await tmux("resize-window", "-x", String(columns), "-y", String(rows));
    },
    ended: (timeoutMs = PATIENCE) =>
      eventually(
        () => (existsSync(status) ? Number(readFileSync(status, "utf8")) : undefined),
        async () => `pi goes on:\n${await capture()}`,
        timeoutMs,
      ),
    async close() {
      if (closed) return;
      closed = true;
      await capture("-S", "-");
      await tmux("kill-server");
    },
  };
}
