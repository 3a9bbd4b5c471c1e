/** images/ is what `npm run pictures` makes, shows what it is for, and shows nothing that is nobody's business. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { olderHost, readObject, root } from "./support/hosts.ts";
import { capture, galleryScene, scenes } from "./support/pictures/scenes.ts";
import { textOf } from "./support/pictures/svg.ts";
import { findSecrets } from "./support/secrets.ts";
import { describeInTmux } from "./support/tmux.ts";

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

describeInTmux("on the older pi", () => {
  test.each(scenes)("the same screen shows what $name is for", async (scene) => {
    expect(await capture(scene, olderHost)).not.toEqual([]);
  });
});

test("pi's gallery is shown a picture that this version's package has", () => {
  const { version, pi, files } = readObject(join(root, "package.json"));
  const file = `images/${galleryScene}.png`;
  expect(pi).toMatchObject({ image: `https://unpkg.com/pi-kimi-coder@${version}/${file}` });
  expect(files).toContain(file);
  expect(statSync(join(root, file)).size).toBeLessThan(PNG_CEILING);
  expect(readFileSync(join(root, file)).subarray(1, 4).toString()).toBe("PNG");
});
