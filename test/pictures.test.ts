/** images/ is what `npm run pictures` makes, shows what it is for, and shows nothing that is nobody's business. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { inflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { isJsonObject } from "../extensions/oauth/json-object.ts";
import { root } from "./support/hosts.ts";
import { parseScreen, plainText } from "./support/pictures/ansi.ts";
import { encodePalettePng } from "./support/pictures/palette-png.ts";
import { galleryScene, scenes } from "./support/pictures/scenes.ts";
import { renderSvg, textOf } from "./support/pictures/svg.ts";
import { readReadme } from "./support/readme.ts";
import { findSecrets } from "./support/secrets.ts";

const images = join(root, "images");
/** Bytes; npm's tarball carries it. */
const PNG_CEILING = 30_000;
const picture = (name: string) => readFileSync(join(images, `${name}.svg`), "utf8");
const names = scenes.map(({ name }) => name);

test("there is a picture for each scene, and no other", () => {
  const made = [...names.map((name) => `${name}.svg`), `${galleryScene}.png`];
  expect(readdirSync(images).sort()).toEqual(made.sort());
  expect(names).toEqual(expect.arrayContaining(["login", "thinking", "usage", "doctor"]));
});

test("the README names only pictures that are there", () => {
  const named = [...readReadme().matchAll(/images\/[\w.-]+/g)].map(([path]) => path.replace("images/", ""));
  for (const name of named) expect(readdirSync(images)).toContain(name);
});

describe.each(scenes)("$name", ({ name, shows }) => {
  test("shows what it is for", () => {
    for (const wanted of shows) {
      const text = textOf(picture(name));
      if (typeof wanted === "string") expect(text).toContain(wanted);
      else expect(text).toMatch(wanted);
    }
  });

  test("shows no secret, and nothing of the machine it was made on", () => {
    const text = picture(name);
    expect(findSecrets(text)).toEqual([]);
    expect(text).not.toMatch(/127\.0\.0\.1|localhost|\/tmp\/|\/home\/|\/Users\/|\/root\b|[0-9a-f]{32}/);
    expect(textOf(text).split(/[^\w.-]+/)).not.toContain(hostname());
  });

  test("asks nobody for anything when it is looked at", () => {
    expect(picture(name)).not.toMatch(/<(?:script|image|style|a|foreignObject)\b|href|url\(/);
  });
});

test("pi's gallery is shown a picture that this version's package has", () => {
  const manifest: unknown = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  if (!isJsonObject(manifest) || !isJsonObject(manifest.pi)) throw new Error("package.json has no pi");
  const file = `images/${galleryScene}.png`;
  expect(manifest.pi.image).toBe(`https://unpkg.com/pi-kimi-coder@${manifest.version}/${file}`);
  expect(manifest.files).toContain(file);
  expect(statSync(join(root, file)).size).toBeLessThan(PNG_CEILING);
  expect(readFileSync(join(root, file)).subarray(1, 4).toString()).toBe("PNG");
});

describe("a captured screen", () => {
  const bold = { bold: true, color: "#0a141e" };

  test("becomes runs of text in one style, which goes on over line ends", () => {
    const rows = parseScreen("a\u001b[1;38;2;10;20;30mbc\nd\u001b[0m \u001b[48;5;231me\n");
    expect(rows).toEqual([
      [
        { column: 0, text: "a", style: {} },
        { column: 1, text: "bc", style: bold },
      ],
      [
        { column: 0, text: "d", style: bold },
        { column: 1, text: " ", style: {} },
        { column: 2, text: "e", style: { background: "#ffffff" } },
      ],
    ]);
    expect(plainText(rows)).toBe("abc\nd e");
  });

  test("loses its links, not their text", () => {
    const rows = parseScreen("\u001b]8;id=x;https://a.example/\u0007here\u001b]8;;\u0007\n");
    expect(plainText(rows)).toBe("here");
  });

  test("is written as text, its blocks and rules drawn", () => {
    const rows = parseScreen("\u001b[31m<a & b>\u001b[39m ██─\n");
    const svg = renderSvg(rows, { width: 20, title: "one" });
    expect(textOf(svg)).toBe("<a & b>");
    expect(svg).toContain('fill="#cc6666"');
    expect(svg).not.toContain("█");
    expect(svg.match(/<path /g)).toHaveLength(2);
  });

  test("is stretched to its columns, whatever the font", () => {
    const svg = renderSvg(parseScreen("   wide  gap\n"), { width: 20, title: "one" });
    expect(svg).toContain('x="27" textLength="36"');
    expect(svg).toContain('x="81" textLength="27"');
  });
});

test("a PNG has every pixel of few colours as it was, and makes do with 256 of many", () => {
  const few = Uint8Array.from([255, 0, 0, 255, 0, 255, 0, 128]);
  const png = encodePalettePng(few, 2, 1);
  expect(chunkOf(png, "PLTE")).toEqual(Buffer.from([255, 0, 0, 0, 255, 0]));
  expect(chunkOf(png, "tRNS")).toEqual(Buffer.from([255, 128]));
  expect(inflateSync(chunkOf(png, "IDAT"))).toEqual(Buffer.from([0, 0, 1]));
  const many = Uint8Array.from({ length: 4 * 4096 }, (_, at) => (at * 7919) % 256);
  expect(chunkOf(encodePalettePng(many, 64, 64), "PLTE").length).toBeLessThanOrEqual(3 * 256);
});

function chunkOf(png: Buffer, type: string): Buffer {
  const at = png.indexOf(type);
  return png.subarray(at + 4, at + 4 + png.readUInt32BE(at - 4));
}
