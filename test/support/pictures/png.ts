/** SVG to PNG, with a font that comes from npm, so that it looks the same everywhere. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Resvg } from "@resvg/resvg-js";
import { encodePalettePng } from "./palette-png.ts";

const fonts = join(dirname(createRequire(import.meta.url).resolve("dejavu-fonts-ttf/package.json")), "ttf");
const faces = ["", "-Bold", "-Oblique", "-BoldOblique"];

export function renderPng(svg: string): Uint8Array {
  const fontFiles = faces.map((face) => join(fonts, `DejaVuSansMono${face}.ttf`));
  const { pixels, width, height } = new Resvg(svg, {
    font: { fontFiles, loadSystemFonts: false, defaultFontFamily: "DejaVu Sans Mono" },
  }).render();
  return encodePalettePng(pixels, width, height);
}
