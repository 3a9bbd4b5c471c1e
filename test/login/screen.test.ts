/** What the login screen says for a given size, and that it leaves no timer behind. */
import { stripVTControlCharacters } from "node:util";
import { visibleWidth } from "@mariozechner/pi-tui";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { hasBrowser } from "../../extensions/login/browser.ts";
import { blockLetters, loadDrawQr } from "../../extensions/login/half-blocks.ts";
import {
  besideLines,
  type Content,
  loginLines,
  type Paint,
  sayCountdown,
  type Verification,
} from "../../extensions/login/lines.ts";
import { besideDialog, loginScreen } from "../../extensions/login/screen.ts";

const drawQr = await loadDrawQr();
const NOW = Date.UTC(2026, 10, 20);
const address = "https://www.kimi.com/code/authorize_device?user_code=BCDF-GHJK";
const verification: Verification = {
  userCode: "BCDF-GHJK",
  verificationUri: address,
  expiresAt: NOW + 1_799_001,
  savedFor: "kimi-cli",
  isAnother: false,
};
const plain = (text: string) => text;
const paint: Paint = { title: plain, link: plain, code: plain, quiet: plain, urgent: plain };
const content: Content = { verification, browser: false, qr: drawQr(address), now: NOW };

describe("the login screen", () => {
  it.each([20, 80])("shows at %i columns the whole address, clickable everywhere", (width) => {
    const lines = loginLines(content, { width, height: 20 }, paint);
    const linked = lines.filter((line) => line.includes("\u001b]8;"));
    for (const line of linked) expect(line).toContain(`;${address}\u0007`);
    const pieces = linked.map(stripVTControlCharacters);
    expect(pieces.join("").trim()).toBe(address);
    // Nothing between the pieces: a terminal that joins full lines has the address again.
    for (const piece of pieces.slice(0, -1)) expect(piece).toHaveLength(width);
  });

  it("never has a line that is too wide, which would end pi", () => {
    const code = fc.stringMatching(/^[\x21-\x7e]{1,64}$/);
    const [width, height] = [fc.integer({ min: 12, max: 220 }), fc.integer({ min: 1, max: 60 })];
    fc.assert(
      fc.property(code, width, height, (userCode, width, height) => {
        const any = { ...content, verification: { ...verification, userCode, isAnother: true } };
        for (const show of [loginLines, besideLines]) {
          for (const line of show(any, { width, height }, paint)) {
            expect(visibleWidth(line), line).toBeLessThanOrEqual(width);
          }
        }
      }),
    );
  });

  it("has a QR code exactly where it pushes nothing off", () => {
    const linesAt = (width: number, height: number, qr = content.qr) =>
      loginLines({ ...content, qr }, { width, height }, paint);
    for (const width of [40, 80, 110, 200]) {
      const without = loginLines({ ...content, qr: undefined }, { width, height: 60 }, paint);
      for (let height = 10; height < 60; height++) {
        const lines = linesAt(width, height);
        if (lines.length !== without.length) expect(lines.length).toBeLessThanOrEqual(height);
      }
    }
    const has = ([width, height]: [number, number]) =>
      linesAt(width, height).some((line) => line.includes("█▀▀▀▀▀█"));
    const sizes: [number, number][] = [
      [40, 60],
      [80, 16],
      [80, 32],
      [110, 24],
    ];
    expect(sizes.map(has)).toEqual([true, false, true, true]);
  });

  it("has no QR code of an address that is too long for one", () => {
    expect(drawQr("x".repeat(5_000))).toBeUndefined();
  });

  it("says when a code has replaced another", () => {
    for (const show of [loginLines, besideLines]) {
      const lines = (isAnother: boolean) =>
        show({ ...content, verification: { ...verification, isAnother } }, { width: 80, height: 15 }, paint);
      expect(lines(false).join("\n")).not.toContain("expired");
      expect(lines(true)[0]).toContain("The last code has expired; here is a new one.");
    }
  });

  it.each([
    [1_799_001, "30:00"],
    [61_000, "01:01"],
    [-1, "00:00"],
  ])("says %i ms as %s", (ms, said) => {
    expect(sayCountdown(ms)).toBe(said);
  });

  it("has block letters that all differ, and none for what has no such letter", () => {
    const all = Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
    const drawn = all.map((letter) => blockLetters(letter)?.join("\n"));
    expect(new Set(drawn).size).toBe(all.length);
    expect(drawn).not.toContain(undefined);
    expect(blockLetters("AB/cd")).toBeUndefined();
  });
});

it.each([
  ["linux", { DISPLAY: ":0" }, true],
  ["linux", { WAYLAND_DISPLAY: "wayland-0" }, true],
  ["linux", {}, false],
  ["linux", { WSL_DISTRO_NAME: "Ubuntu" }, true],
  ["linux", { DISPLAY: ":10", SSH_CONNECTION: "::1 1 ::1 22" }, false],
  ["darwin", {}, true],
  ["darwin", { SSH_TTY: "/dev/ttys001" }, false],
  ["win32", {}, true],
] as const)("on %s with %o there is a browser: %s", (platform, env, expected) => {
  expect(hasBrowser({ platform, env })).toBe(expected);
});

describe("while it is there", () => {
  function open() {
    const requestRender = vi.fn();
    const cancel = vi.fn();
    const tui = { requestRender, terminal: { rows: 24 } };
    const theme = { fg: (_color: string, text: string) => text, bold: plain };
    const parts = { tui, theme, drawQr };
    const screen = loginScreen(parts, (data) => data === "esc", cancel);
    return { parts, screen, requestRender, cancel };
  }

  it("asks for a new picture each second, and no longer once it is gone", () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    try {
      const { parts, screen, requestRender } = open();
      const beside = besideDialog(parts, verification);
      vi.advanceTimersByTime(3_000);
      expect(requestRender).toHaveBeenCalledTimes(6);
      screen.dispose();
      beside.dispose();
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it("says that it asks for a code until there is one, and is cancelled by pi's key for that alone", () => {
    const { screen, cancel } = open();
    expect(screen.render(80).join("\n")).toContain("Asking Kimi for a code");
    screen.show(verification);
    expect(screen.render(80).join("\n")).toContain("BCDF-GHJK");
    screen.handleInput?.("x");
    expect(cancel).not.toHaveBeenCalled();
    screen.handleInput?.("esc");
    expect(cancel).toHaveBeenCalledOnce();
    screen.dispose();
  });
});
