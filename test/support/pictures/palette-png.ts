/** Pixels as a PNG of at most 256 colours: a third of the size, which every installation of the package carries. */
import { crc32, deflateSync } from "node:zlib";

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const COLORS = 256;

/** `pixels` are RGBA, row by row; colours are made coarser until there are few enough. */
export function encodePalettePng(pixels: Uint8Array, width: number, height: number): Buffer {
  for (let bits = 8; bits > 0; bits--) {
    const palette = new Map<number, number>();
    const rows = Buffer.alloc(height * (width + 1));
    for (let at = 0; at < width * height && palette.size <= COLORS; at++) {
      const color = coarse(pixels, at * 4, bits);
      const index = palette.get(color) ?? palette.size;
      palette.set(color, index);
      // Each row begins with its filter, 0: none.
      rows[Math.floor(at / width) * (width + 1) + 1 + (at % width)] = index;
    }
    if (palette.size <= COLORS) return assemble(rows, [...palette.keys()], width, height);
  }
  throw new Error("a bit for each channel makes 16 colours");
}

/** Of one pixel, its four channels in one number. */
function coarse(pixels: Uint8Array, at: number, bits: number): number {
  const steps = 2 ** bits - 1;
  return [0, 1, 2, 3].reduce((color, channel) => {
    const value = pixels[at + channel] ?? 0;
    return color * 256 + Math.round((Math.round((value * steps) / 255) * 255) / steps);
  }, 0);
}

function assemble(rows: Buffer, colors: readonly number[], width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // Eight bits a pixel, each an index into the palette.
  header.set([8, 3, 0, 0, 0], 8);
  const channel = (color: number, index: number) => Math.floor(color / 256 ** (3 - index)) % 256;
  return Buffer.concat([
    SIGNATURE,
    chunk("IHDR", header),
    chunk("PLTE", Buffer.from(colors.flatMap((color) => [0, 1, 2].map((index) => channel(color, index))))),
    chunk("tRNS", Buffer.from(colors.map((color) => channel(color, 3)))),
    chunk("IDAT", deflateSync(rows, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}
