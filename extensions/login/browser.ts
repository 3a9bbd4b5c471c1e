/** Whether this machine has a browser that its user can see, and opening an address in it. */
import { spawn } from "node:child_process";

export interface Surroundings {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What says that there is a desktop: X11, Wayland, or Windows around a Linux, whose `xdg-open` leads there. */
const DESKTOP = ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"];

/** Where there is a desktop, but not over SSH: there a browser would open on the other machine. */
export function hasBrowser({ platform, env }: Surroundings): boolean {
  if (env.SSH_CONNECTION || env.SSH_TTY) return false;
  return platform === "darwin" || platform === "win32" || DESKTOP.some((name) => env[name]);
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
