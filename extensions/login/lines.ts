/** What the login screen says, as lines for a given size. Nothing here knows pi's screen or the time. */
import { truncateToWidth, visibleWidth, wrapTextWithAnsi } from "@mariozechner/pi-tui";
import type { DeviceAuthorization } from "../oauth/device-authorization.ts";
import type { BrowserLook } from "./browser.ts";
import { blockLetters, type QrCode } from "./half-blocks.ts";

/** What the user is to confirm (RFC 8628 §3.3). */
export interface Verification
  extends Pick<DeviceAuthorization, "userCode" | "verificationUri" | "expiresAt"> {
  readonly savedFor: string;
  /** Whether one before it has expired. */
  readonly isAnother: boolean;
}

export interface Room {
  readonly width: number;
  /** Lines that may be used before something leaves the screen. */
  readonly height: number;
}

/** pi's theme, by what the text is for. */
export interface Paint {
  readonly title: (text: string) => string;
  readonly link: (text: string) => string;
  readonly code: (text: string) => string;
  readonly quiet: (text: string) => string;
  readonly urgent: (text: string) => string;
}

export interface Content {
  readonly verification: Verification;
  readonly browser: BrowserLook;
  readonly qr: QrCode | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

const GAP = 3;
/** From here on the countdown is hard to overlook, ms. */
const LAST_MINUTES = 120_000;

/** The whole screen: the address, the code, how long it is good, what happens next; a QR code where there is room. */
export function loginLines(content: Content, room: Room, paint: Paint): readonly string[] {
  const { verification, browser } = content;
  const inner = room.width - 1;
  const head = [...noteLines(verification, inner, paint), ...wrap(sayWhere(browser), inner)];
  // Not indented with the rest: each piece of an address that is broken begins in the first column.
  const address = addressLines(verification.verificationUri, room.width, paint);
  const body = (width: number) => [
    "",
    ...wrap(`2. Check that it shows this code: ${paint.code(verification.userCode)}`, width),
    "",
    ...codeLines(verification.userCode, width, paint),
    "",
    ...statusLines(content, width, paint),
    ...wrap(paint.quiet("Esc cancels."), width),
  ];
  const height = room.height - head.length - address.length;
  return [...indent(head), ...address, ...indent(withQr(body, content.qr, { width: inner, height }, paint))];
}

/** What pi's own dialog does not show, to stand above it: the code in large, how long it is good, what happens next. */
export function besideLines(content: Content, room: Room, paint: Paint): readonly string[] {
  const inner = { ...room, width: room.width - 1 };
  const { verification } = content;
  const short = (width: number) => [
    ...codeLines(verification.userCode, width, paint),
    "",
    ...statusLines(content, width, paint),
  ];
  const long = (width: number) => [
    ...noteLines(verification, width, paint),
    ...wrap("Open the address below on any device, and check that it shows this code:", width),
    ...short(width),
  ];
  const body = [long, short].find((lines) => lines(inner.width).length <= room.height);
  return indent(body ? withQr(body, content.qr, inner, paint) : statusLines(content, inner.width, paint));
}

function noteLines({ isAnother }: Verification, width: number, paint: Paint): readonly string[] {
  return isAnother ? [...wrap(paint.urgent("The last code has expired; here is a new one."), width), ""] : [];
}

function sayWhere(browser: BrowserLook): string {
  return browser === "here"
    ? "1. Confirm in the browser that opens now, or open on any device:"
    : "1. Open on any device, such as your phone or laptop:";
}

/**
 * Clickable (OSC 8), and in one piece where it fits. Where not, each line is filled to the brim from the first column,
 * so that what is copied is the address, and each piece leads to the whole.
 */
export function addressLines(address: string, width: number, paint: Paint): readonly string[] {
  const indent = address.length + 4 <= width ? "    " : "";
  const pieces: string[] = [];
  for (let at = 0; at < address.length; at += Math.max(1, width)) {
    pieces.push(address.slice(at, at + Math.max(1, width)));
  }
  // One id for all pieces: terminals then show them as one link.
  return pieces.map(
    (piece) => `${indent}\u001b]8;id=kimi-login;${address}\u0007${paint.link(piece)}\u001b]8;;\u0007`,
  );
}

/** In block letters where they fit, else spaced in a frame, else as it is. */
function codeLines(code: string, width: number, paint: Paint): readonly string[] {
  const indent = "   ";
  const blocks = blockLetters(code);
  if (blocks && indent.length + code.length * 6 <= width) {
    return blocks.map((line) => indent + paint.code(line));
  }
  const spaced = Array.from(code).join(" ");
  if (indent.length + spaced.length + 6 > width) return [paint.code(truncateToWidth(code, width))];
  const rule = "─".repeat(spaced.length + 4);
  return [
    `${indent}${paint.quiet(`╭${rule}╮`)}`,
    `${indent}${paint.quiet("│")}  ${paint.code(spaced)}  ${paint.quiet("│")}`,
    `${indent}${paint.quiet(`╰${rule}╯`)}`,
  ];
}

function statusLines({ verification, now }: Content, width: number, paint: Paint): readonly string[] {
  const left = Math.max(0, verification.expiresAt - now);
  const countdown = `The code is good for another ${sayCountdown(left)}.`;
  return [
    ...wrap(left > LAST_MINUTES ? countdown : paint.urgent(countdown), width),
    ...wrap(
      `Once you confirm, pi goes on by itself; pi and ${verification.savedFor} then share the login.`,
      width,
    ),
  ];
}

/** `ms` as `mm:ss`, with hours where there are some. */
export function sayCountdown(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

/** Beside the text or under it, where it pushes nothing off the screen; else the text alone. */
function withQr(
  body: (width: number) => readonly string[],
  qr: QrCode | undefined,
  { width, height }: Room,
  paint: Paint,
): readonly string[] {
  const alone = body(width);
  if (!qr || qr.width > width) return alone;
  const column = width - qr.width - GAP;
  const beside = column < MIN_COLUMN ? alone : sideBySide(body(column), qr, column);
  const margin = " ".repeat(Math.min(GAP, width - qr.width));
  const caption = paint.quiet(`${margin}The same address as a QR code:`);
  const under = [...alone, "", caption, ...qr.lines.map((line) => margin + line)];
  const layouts = column < GOOD_COLUMN ? [under, beside] : [beside, under];
  return layouts.find(({ length }) => length <= height) ?? alone;
}

function sideBySide(text: readonly string[], { lines }: QrCode, column: number): readonly string[] {
  return Array.from({ length: Math.max(text.length, lines.length) }, (_, row) => {
    const left = text[row] ?? "";
    const right = lines[row];
    return right === undefined ? left : left + " ".repeat(column + GAP - visibleWidth(left)) + right;
  });
}

/** Columns in which the sentences beside a QR code do not fall apart, and in which the block letters fit too. */
const MIN_COLUMN = 36;
const GOOD_COLUMN = 57;

export function wrap(text: string, width: number): readonly string[] {
  return wrapTextWithAnsi(text, Math.max(1, width));
}

export function indent(lines: readonly string[]): string[] {
  return lines.map((line) => (line === "" ? line : ` ${line}`));
}
