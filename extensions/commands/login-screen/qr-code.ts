/** An address as a QR code made of text, for the camera of another device. */
import { createRequire } from "node:module";
import type * as Uqr from "uqr";
import { halfBlocks } from "./block-letters.ts";

export interface QrCode {
  readonly lines: readonly string[];
  /** Columns of each line. */
  readonly width: number;
}

/** Modules of light around it; the standard asks for four, cameras are content with two. */
const QUIET = 2;
/** Black on white in every theme: many cameras do not read it the other way round. */
const INK = "\u001b[38;5;16;48;5;231m";
const RESET = "\u001b[39;49m";

/** Undefined where the library is missing (pi installs none for a local folder) or the address is too long for it. */
export function qrCode(address: string, load: () => typeof Uqr = loadLibrary): QrCode | undefined {
  try {
    const { data } = load().encode(address, { ecc: "L", border: QUIET });
    const lines: string[] = [];
    for (let row = 0; row < data.length; row += 2) {
      const upper = data[row] ?? [];
      lines.push(`${INK}${halfBlocks(upper, data[row + 1] ?? [])}${RESET}`);
    }
    return { lines, width: data.length };
  } catch {
    return undefined;
  }
}

function loadLibrary(): typeof Uqr {
  return createRequire(import.meta.url)("uqr");
}
