/** Whether this machine has a browser that its user can see, and opening an address in it. */
import { spawn } from "node:child_process";

export interface Surroundings {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** `remote`: over SSH a browser would open on the other machine. `unlikely`: no desktop is known; trying costs nothing. */
export type BrowserLook = "here" | "unlikely" | "remote";

export function lookForBrowser({ platform, env }: Surroundings): BrowserLook {
  if (env.SSH_CONNECTION || env.SSH_TTY) return "remote";
  const desktop = platform === "darwin" || platform === "win32" || env.DISPLAY || env.WAYLAND_DISPLAY;
  return desktop ? "here" : "unlikely";
}

/** Without a shell, so that nothing in the address is anything but an address. A browser that is missing is no error. */
export function openBrowser(address: string, platform: NodeJS.Platform): void {
  const [command, words] =
    platform === "darwin"
      ? ["open", [address]]
      : platform === "win32"
        ? ["rundll32", ["url.dll,FileProtocolHandler", address]]
        : ["xdg-open", [address]];
  spawn(command, words, { stdio: "ignore", detached: true })
    .on("error", () => {})
    .unref();
}
