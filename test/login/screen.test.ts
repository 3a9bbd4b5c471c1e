/** What the login screen says for a given size, and that it leaves no timer behind. */

import { stripVTControlCharacters } from "node:util";
import { visibleWidth } from "@mariozechner/pi-tui";
import fc from "fast-check";
import { encode } from "uqr";
import { describe, expect, it, vi } from "vitest";
import { lookForBrowser } from "../../extensions/login/browser.ts";
import { blockLetters, qrCode } from "../../extensions/login/half-blocks.ts";
import {
  besideLines,
  loginLines,
  type Paint,
  sayCountdown,
  type Verification,
} from "../../extensions/login/lines.ts";
import { besideDialog, loginScreen } from "../../extensions/login/screen.ts";

const NOW = Date.UTC(2026, 10, 20);
const address = "https://www.kimi.com/code/authorize_device?user_code=BCDF-GHJK";
const verification: Verification = {
  userCode: "BCDF-GHJK",
  verificationUri: address,
  expiresAt: NOW + 1_799_001,
  savedFor: "kimi-cli",
  isAnother: false,
};
const mark = (name: string) => (text: string) => `<${name}>${text}</${name}>`;
const plain = (text: string) => text;
const paint: Paint = { title: plain, link: plain, code: plain, quiet: plain, urgent: plain };
const content = { verification, browser: "remote", qr: qrCode(address, encode), now: NOW } as const;

describe("the login screen", () => {
  it.each([20, 40, 80, 200])("shows at %i columns the whole address, clickable everywhere", (width) => {
    const lines = loginLines(content, { width, height: 20 }, paint);
    const linked = lines.filter((line) => line.includes("\u001b]8;"));
    for (const line of linked) expect(line).toContain(`;${address}\u0007`);
    const shown = linked.map(stripVTControlCharacters);
    expect(shown.join("").trim()).toBe(address);
    // Nothing between the pieces: a terminal that joins full lines has the address again.
    if (shown.length > 1) {
      for (const piece of shown.slice(0, -1)) expect(piece).toHaveLength(width);
    }
  });

  it("never has a line that is too wide, which would end pi", () => {
    const code = fc.stringMatching(/^[\x21-\x7e]{1,64}$/);
    fc.assert(
      fc.property(
        code,
        fc.integer({ min: 12, max: 220 }),
        fc.integer({ min: 1, max: 60 }),
        (userCode, width, height) => {
          const any = { ...content, verification: { ...verification, userCode, isAnother: true } };
          for (const show of [loginLines, besideLines]) {
            for (const line of show(any, { width, height }, paint)) {
              expect(visibleWidth(line), line).toBeLessThanOrEqual(width);
            }
          }
        },
      ),
    );
  });

  it("has a QR code exactly where it pushes nothing off", () => {
    for (const width of [40, 80, 110, 200]) {
      for (let height = 10; height < 60; height++) {
        const lines = loginLines(content, { width, height }, paint);
        const without = loginLines({ ...content, qr: undefined }, { width, height }, paint);
        if (lines.length !== without.length) expect(lines.length).toBeLessThanOrEqual(height);
      }
    }
    const finder = (width: number, height: number) =>
      loginLines(content, { width, height }, paint).some((line) => line.includes("█▀▀▀▀▀█"));
    expect([finder(40, 60), finder(80, 16), finder(80, 32), finder(110, 24)]).toEqual([
      true,
      false,
      true,
      true,
    ]);
  });

  it("does without the library of QR codes", () => {
    expect(qrCode(address, undefined)).toBeUndefined();
    expect(qrCode("x".repeat(5_000), encode)).toBeUndefined();
  });

  it("says when a code has replaced another, and marks the last two minutes", () => {
    const shouting = { ...paint, urgent: mark("urgent") };
    const lines = (change: Partial<Verification>) =>
      loginLines(
        { ...content, verification: { ...verification, ...change } },
        { width: 80, height: 20 },
        shouting,
      );
    expect(lines({}).join("\n")).not.toContain("<urgent>");
    expect(lines({ isAnother: true })[0]).toContain("<urgent>The last code has expired; here is a new one.");
    expect(lines({ expiresAt: NOW + 90_000 }).join("\n")).toContain(
      "<urgent>The code is good for another 01:30.",
    );
  });

  it.each([
    [1_800_000, "30:00"],
    [1_799_001, "30:00"],
    [1_799_000, "29:59"],
    [61_000, "01:01"],
    [0, "00:00"],
    [3_661_000, "1:01:01"],
  ])("says %i ms as %s", (ms, said) => {
    expect(sayCountdown(ms)).toBe(said);
  });
});

describe("block letters", () => {
  it("are four lines of six columns a character, all different", () => {
    const all = Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
    const drawn = all.map((letter) => blockLetters(letter)?.join("\n"));
    expect(new Set(drawn).size).toBe(all.length);
    for (const line of blockLetters("BCDF-GHJK") ?? []) expect(line.length).toBeLessThan(54);
    expect(blockLetters("BCDF-GHJK")).toHaveLength(4);
  });

  it("are given up where a character has none: a code keeps its case", () => {
    expect(blockLetters("abcd")).toBeUndefined();
    expect(blockLetters("AB/CD")).toBeUndefined();
  });
});

it.each([
  ["linux", { DISPLAY: ":0" }, "here"],
  ["linux", { WAYLAND_DISPLAY: "wayland-0" }, "here"],
  ["linux", {}, "unlikely"],
  ["linux", { DISPLAY: ":10", SSH_CONNECTION: "::1 1 ::1 22" }, "remote"],
  ["darwin", {}, "here"],
  ["darwin", { SSH_TTY: "/dev/ttys001" }, "remote"],
  ["win32", {}, "here"],
] as const)("on %s with %o a browser is %s", (platform, env, look) => {
  expect(lookForBrowser({ platform, env })).toBe(look);
});

describe("while it is there", () => {
  const open = () => {
    let renders = 0;
    const terminal = { rows: 24 };
    const requestRender = () => {
      renders += 1;
    };
    const tui = { requestRender, terminal };
    const theme = { fg: (_color: string, text: string) => text, bold: plain };
    return {
      parts: { tui, theme, browser: "here" as const, encode, now: () => NOW },
      renders: () => renders,
    };
  };

  it("asks for a new picture each second, and no longer once it is gone", () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    try {
      const { parts, renders } = open();
      const screen = loginScreen(
        parts,
        () => false,
        () => {},
      );
      const beside = besideDialog(parts, verification);
      vi.advanceTimersByTime(3_000);
      expect(renders()).toBe(6);
      screen.dispose();
      beside.dispose();
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it("is cancelled by pi's key for that alone", () => {
    const { parts } = open();
    let cancelled = 0;
    const screen = loginScreen(
      parts,
      (data) => data === "esc",
      () => cancelled++,
    );
    screen.handleInput?.("x");
    expect(cancelled).toBe(0);
    screen.handleInput?.("esc");
    expect(cancelled).toBe(1);
    screen.dispose();
  });

  it("says that it asks for a code until there is one, then shows it", () => {
    const { parts } = open();
    const screen = loginScreen(
      parts,
      () => false,
      () => {},
    );
    expect(screen.render(80).join("\n")).toContain("Asking Kimi for a code");
    screen.show(verification);
    expect(screen.render(80).join("\n")).toContain("BCDF-GHJK");
    screen.dispose();
  });
});
