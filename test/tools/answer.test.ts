import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bounded, readPage, readSearch } from "../../extensions/tools/answer.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";
import { count } from "../support/counts.ts";

const search = (...results: readonly unknown[]) => readSearch(JSON.stringify({ search_results: results }));

/** Anything that a terminal could take for an order: control and format characters but joiners. */
const ORDERS = /[^\P{C}\n\t\u200c\u200d]/u;

describe("the answer of a search", () => {
  test("names a result without a title by its site", () => {
    expect(search({ title: "", url: "https://www.b.com/", snippet: 7, date: "" })).toEqual({
      text: "1. b.com\n   https://www.b.com/",
      summary: "1 result: b.com",
    });
  });

  test("leaves out what has no address of the web", () => {
    const addresses = [
      "javascript:alert(1)",
      "https://a b.com/",
      "",
      7,
      undefined,
      "\u001b[31mhttps://a.com/",
    ];
    expect(search(...addresses.map((url) => ({ title: "x", url })), "no object", null)).toMatchObject({
      text: "1. x\n   https://a.com/",
      summary: "1 result: a.com",
    });
  });

  test("names a few sites, each once", () => {
    const sites = ["a", "b", "a", "c", "d", "e"].map((name) => ({ url: `https://${name}.com/` }));
    expect(search(...sites)?.summary).toBe("6 results: a.com, b.com, c.com, d.com, …");
  });

  test("may be empty, or none", () => {
    expect(search()).toEqual({ text: "Kimi found nothing; try other words.", summary: "nothing found" });
    for (const text of ["", "[]", '{"search_results":{}}', "<html>"])
      expect(readSearch(text)).toBeUndefined();
  });
});

describe("a page", () => {
  test("loses what steers a terminal, and no more", () => {
    expect(readPage("\ufeff# T\u001b[31mi\u001b[0mtle\r\n\tA \u009bline\r\u202eb").text).toBe(
      "# Title\n\tA ine\nb",
    );
    // A page that was decoded wrongly has the characters that begin long escapes.
    expect(readPage("â\u0080\u009dquoted, and all the rest").text).toBe("âquoted, and all the rest");
    expect(readPage("\u001b]8;;https://a.com\u0007link").text).toBe("]8;;https://a.comlink");
    expect(readPage("👩\u200d💻 می\u200cخواهم").text).toBe("👩\u200d💻 می\u200cخواهم");
  });

  test("says its size, or that it has no text", () => {
    expect(readPage("ä\nb").summary).toBe("4B, 2 lines");
    expect(readPage("x".repeat(2048)).summary).toBe("2.0KB, 1 line");
    expect(readPage(" \u0000\n")).toEqual({ text: "Kimi found no text on this page.", summary: "no text" });
  });
});

test("nothing that comes from a page reaches the terminal as an escape", () => {
  const steering = [
    "\u001b[",
    "\u001b]0;",
    "\u009b",
    "\u009d",
    "\u001b\\",
    "\u0007",
    "m",
    ";",
    "\u202e",
    "\n",
  ];
  const pieces = fc.oneof(fc.constantFrom(...steering), fc.string({ unit: "binary", maxLength: 8 }));
  const hostile = fc.array(pieces, { maxLength: 20 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(hostile, (text) => {
      const words = { title: text, snippet: text, date: text, site_name: text };
      const result = { ...words, url: `https://a.com/${text}` };
      const found = [readPage(text), search(result, { ...result, url: "https://a.com/" })];
      return found.every((one) => !ORDERS.test(`${one?.text}${one?.summary}`));
    }),
    { numRuns: count(300, 20_000) },
  );
});

describe("an answer of more than 50 KB", () => {
  const LARGEST = 50 * 1024;
  const long = { text: `€${"x".repeat(LARGEST - 4)}€`, summary: "a page" };

  test("ends at a character, and all of it is in a file", async () => {
    const place = temporaryDirectory();
    const fits = { text: "x".repeat(LARGEST), summary: "a page" };
    expect(await bounded("fetch", fits, place)).toEqual(fits);
    expect(readdirSync(place)).toEqual([]);
    const { text, summary } = await bounded("fetch", long, place);
    const path = join(place, String(readdirSync(place)[0]));
    expect(text).toBe(
      `${long.text.slice(0, -1)}\n\n[Showing the first 50.0KB of 50.0KB. Full text: ${path}]`,
    );
    expect(summary).toBe(`a page; all of it in ${path}`);
    expect(readFileSync(path, "utf8")).toBe(long.text);
  });

  test("says so where the rest cannot be kept", async () => {
    const { text, summary } = await bounded("fetch", long, join(temporaryDirectory(), "no", "such"));
    expect(text).toMatch(
      /x\n\n\[Showing the first 50\.0KB of 50\.0KB\. The rest could not be kept \(ENOENT\)\.\]$/,
    );
    expect(summary).toBe("a page");
  });
});
