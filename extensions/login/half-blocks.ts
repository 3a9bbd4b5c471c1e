/** Pictures made of text, two pixels a character: a user code in large letters, and an address as a QR code. */
import { inTurn } from "../lib/lazy.ts";

/** Seven rows of five pixels for each letter, the leftmost pixel worth 16, each row one digit of base 32. */
const FONT: Readonly<Record<string, string>> = {
  A: "ehhvhhh",
  B: "uhhuhhu",
  C: "ehggghe",
  D: "uhhhhhu",
  E: "vgguggv",
  F: "vgguggg",
  G: "ehgnhhe",
  H: "hhhvhhh",
  I: "e44444e",
  J: "72222ic",
  K: "hikokih",
  L: "ggggggv",
  M: "hrllhhh",
  N: "hhpljhh",
  O: "ehhhhhe",
  P: "uhhuggg",
  Q: "ehhhlid",
  R: "uhhukih",
  S: "fgge11u",
  T: "v444444",
  U: "hhhhhhe",
  V: "hhhhha4",
  W: "hhhllla",
  X: "hha4ahh",
  Y: "hhha444",
  Z: "v1248gv",
  0: "ehjlphe",
  1: "4c4444e",
  2: "eh1248v",
  3: "v24211e",
  4: "26aiv22",
  5: "vgu11he",
  6: "68guhhe",
  7: "v124888",
  8: "ehhehhe",
  9: "ehhf12c",
  "-": "000e000",
};

const HEIGHT = 7;
const WIDTH = 5;

/** Four lines, each six columns a character; undefined where a character has no block letter. */
export function blockLetters(code: string): readonly string[] | undefined {
  const letters = Array.from(code).map((character) => FONT[character]);
  const lines: string[] = [];
  for (let row = 0; row < HEIGHT; row += 2) {
    let line = "";
    for (const letter of letters) {
      if (letter === undefined) return undefined;
      line += `${halfBlocks(pixels(letter, row), pixels(letter, row + 1))} `;
    }
    lines.push(line.trimEnd());
  }
  return lines;
}

function pixels(letter: string, row: number): readonly boolean[] {
  const bits = row < HEIGHT ? Number.parseInt(letter.charAt(row), 32) : 0;
  return Array.from({ length: WIDTH }, (_, column) => (bits & (16 >> column)) !== 0);
}

/** Two rows of pixels as one line of text. */
function halfBlocks(upper: readonly boolean[], lower: readonly boolean[]): string {
  return upper.map((above, column) => BLOCKS[(above ? 2 : 0) + (lower[column] ? 1 : 0)]).join("");
}

const BLOCKS = [" ", "▄", "▀", "█"] as const;

/** For the camera of another device. */
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

/** Undefined where the address is too long for a QR code, or nothing can draw one. */
export type DrawQr = (address: string) => QrCode | undefined;

/** Draws nothing where the library is missing, since pi installs none for a local folder. Never rejects. */
export async function loadDrawQr(): Promise<DrawQr> {
  const library = await inTurn(() => import("uqr")).catch(() => undefined);
  return (address) => {
    try {
      return library && qrCode(library.encode(address, { ecc: "L", border: QUIET }).data);
    } catch {
      return undefined;
    }
  };
}

/** `data`: rows of modules, true where dark. */
function qrCode(data: readonly (readonly boolean[])[]): QrCode {
  const lines: string[] = [];
  for (let row = 0; row < data.length; row += 2) {
    const upper = data[row] ?? [];
    lines.push(`${INK}${halfBlocks(upper, data[row + 1] ?? [])}${RESET}`);
  }
  return { lines, width: data.length };
}
