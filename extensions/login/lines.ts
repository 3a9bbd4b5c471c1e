/** What the login screen says, as lines for a given size. Nothing here knows pi's screen or the time. */
import { visibleWidth, wrapTextWithAnsi } from "@mariozechner/pi-tui";
import type { DeviceAuthorization } from "../oauth/device-authorization.ts";
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
  /** Whether one opens on this machine. */
  readonly browser: boolean;
  readonly qr: QrCode | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

const GAP = 3;

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
    ...statusLines(content, width),
    ...wrap(paint.quiet("Esc cancels."), width),
  ];
  const height = room.height - head.length - address.length;
  return [...indent(head), ...address, ...indent(withQr(body, content.qr, { width: inner, height }, paint))];
}

/** What pi's own dialog does not show, to stand above it: the code in large, how long it is good, what happens next. */
export function besideLines(content: Content, room: Room, paint: Paint): readonly string[] {
  const inner = { ...room, width: room.width - 1 };
  const { verification, qr } = content;
  const body = (width: number) => [
    ...noteLines(verification, width, paint),
    ...wrap("Open the address below on any device, and check that it shows this code:", width),
    ...codeLines(verification.userCode, width, paint),
    "",
    ...statusLines(content, width),
  ];
  const fits = body(inner.width).length <= room.height;
  return indent(fits ? withQr(body, qr, inner, paint) : statusLines(content, inner.width));
}

function noteLines({ isAnother }: Verification, width: number, paint: Paint): readonly string[] {
  return isAnother ? [...wrap(paint.urgent("The last code has expired; here is a new one."), width), ""] : [];
}

function sayWhere(browser: boolean): string {
  return browser
    ? "1. Confirm in the browser that opens now, or open on any device:"
    : "1. Open on any device, such as your phone or laptop:";
}

/**
 * Clickable (OSC 8), and in one piece where it fits. Where not, each line is filled to the brim from the first column,
 * so that what is copied is the address, and each piece leads to the whole.
 */
function addressLines(address: string, width: number, paint: Paint): readonly string[] {
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

/** In block letters where there are such and they fit, else spaced. */
function codeLines(code: string, width: number, paint: Paint): readonly string[] {
  const indent = "   ";
  const blocks = blockLetters(code);
  if (blocks && indent.length + code.length * 6 <= width) {
    return blocks.map((line) => indent + paint.code(line));
  }
  return wrap(indent + paint.code(Array.from(code).join(" ")), width);
}

function statusLines({ verification, now }: Content, width: number): readonly string[] {
  const left = sayCountdown(verification.expiresAt - now);
  return [
    ...wrap(`The code is good for another ${left}.`, width),
    ...wrap(
      `Once you confirm, pi goes on by itself; pi and ${verification.savedFor} then share the login.`,
      width,
    ),
  ];
}

/** `ms` as `mm:ss`; below zero counts as none. */
export function sayCountdown(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(Math.floor(seconds / 60))}:${two(seconds % 60)}`;
}

/** Under the text or beside it, where it pushes nothing off the screen; else the text alone. */
function withQr(
  body: (width: number) => readonly string[],
  qr: QrCode | undefined,
  { width, height }: Room,
  paint: Paint,
): readonly string[] {
  const alone = body(width);
  if (!qr || qr.width > width) return alone;
  const margin = " ".repeat(Math.min(GAP, width - qr.width));
  const caption = paint.quiet(`${margin}The same address as a QR code:`);
  const under = [...alone, "", caption, ...qr.lines.map((line) => margin + line)];
  if (under.length <= height) return under;
  const column = width - qr.width - GAP;
  const beside = column < MIN_COLUMN ? alone : sideBySide(body(column), qr, column);
  return beside.length <= height ? beside : alone;
}

function sideBySide(text: readonly string[], { lines }: QrCode, column: number): readonly string[] {
  return Array.from({ length: Math.max(text.length, lines.length) }, (_, row) => {
    const left = text[row] ?? "";
    const right = lines[row];
    return right === undefined ? left : left + " ".repeat(column + GAP - visibleWidth(left)) + right;
  });
}

/** Columns in which the sentences beside a QR code do not fall apart. */
const MIN_COLUMN = 36;

export function wrap(text: string, width: number): readonly string[] {
  return wrapTextWithAnsi(text, Math.max(1, width));
}

export function indent(lines: readonly string[]): string[] {
  return lines.map((line) => (line === "" ? line : ` ${line}`));
}
