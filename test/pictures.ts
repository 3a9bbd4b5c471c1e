/**
 * Makes images/ anew from the real pi in tmux: `npm run pictures [-- <scene> …]`. Needs tmux and, for the picture of
 * pi's gallery, nothing that npm has not installed.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./support/hosts.ts";
import { renderPng } from "./support/pictures/png.ts";
import { capture, galleryScene, scenes } from "./support/pictures/scenes.ts";
import { renderSvg } from "./support/pictures/svg.ts";

const images = join(root, "images");
const wanted = process.argv.slice(2);
mkdirSync(images, { recursive: true });
for (const scene of scenes) {
  if (wanted.length > 0 && !wanted.includes(scene.name)) continue;
  const svg = renderSvg(await capture(scene), scene);
  writeFileSync(join(images, `${scene.name}.svg`), svg);
  if (scene.name === galleryScene) writeFileSync(join(images, `${scene.name}.png`), renderPng(svg));
  console.log(`images/${scene.name}.svg`);
}
