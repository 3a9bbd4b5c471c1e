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
  test("is a numbered list of titles, addresses, dates and snippets", () => {
    expect(
      search(
        {
          title: "One",
          url: "https://www.a.com/1",
          snippet: "first\nlines",
          date: "2026-01-02",
          site_name: "A",
        },
        { title: "", url: "https://b.com/", snippet: 7, date: "" },
      ),
    ).toEqual({
      text: "1. One\n   https://www.a.com/1\n   2026-01-02 · A\n   first lines\n\n2. b.com\n   https://b.com/",
      summary: "2 results: a.com, b.com",
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

  test.each(["", "[]", "{}", '{"search_results":{}}', "<html>"])("is none: %s", (text) => {
    expect(readSearch(text)).toBeUndefined();
  });

  test("may be empty", () => {
    expect(search()).toEqual({ text: "Kimi found nothing; try other words.", summary: "nothing found" });
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

  test("may have no text", () => {
    expect(readPage(" \u0000\n")).toEqual({ text: "Kimi found no text on this page.", summary: "no text" });
  });

  test("says its size", () => {
    expect(readPage("ä\nb").summary).toBe("4B, 2 lines");
    expect(readPage("x".repeat(2048)).summary).toBe("2.0KB, 1 line");
  });
});

test("nothing that comes from a page reaches the terminal as an escape", () => {
  const pieces = fc.oneof(
    fc.constantFrom(
      "\u001b[",
      "\u001b]0;",
      "\u009b",
      "\u009d",
      "\u001b\\",
      "\u0007",
      "m",
      "0",
      ";",
      "\u202e",
      "\n",
    ),
    fc.string({ unit: "binary", maxLength: 8 }),
  );
  const hostile = fc.array(pieces, { maxLength: 20 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(hostile, (text) => {
      const result = {
        title: text,
        url: `https://a.com/${text}`,
        snippet: text,
        date: text,
        site_name: text,
      };
      const found = [readPage(text), search(result, { ...result, url: "https://a.com/" })];
      return found.every((one) => !ORDERS.test(`${one?.text}${one?.summary}`));
    }),
    { numRuns: count(300, 20_000) },
  );
});

describe("bounds", () => {
  const found = (text: string) => ({ text, summary: "a page" });

  test("leave alone what fits, and write nothing", async () => {
    const place = temporaryDirectory();
    expect(await bounded("fetch", found("x".repeat(100)), place, 100)).toEqual(found("x".repeat(100)));
    expect(readdirSync(place)).toEqual([]);
  });

  test("end at a line, or in one that is long at a character, and keep all of it", async () => {
    const place = temporaryDirectory();
    const lines = `${"x".repeat(70)}\n${"y".repeat(70)}`;
    const cut = await bounded("fetch", found(lines), place, 100);
    expect(cut.text).toBe(`${"x".repeat(70)}\n\n[Showing the first 70B of 141B. Full text: ${cut.path}]`);
    expect(cut.summary).toBe(`a page; all of it in ${cut.path}`);
    expect(readFileSync(String(cut.path), "utf8")).toBe(lines);
    const long = await bounded("search", found("ä€🙂".repeat(30)), place, 100);
    expect(long.text.split("\n")[0]).toBe("ä€🙂".repeat(11));
    const early = await bounded("fetch", found(`x\n${"y".repeat(200)}`), place, 100);
    expect(early.text.split("\n\n")[0]).toBe(`x\n${"y".repeat(98)}`);
  });

  test("say so where the rest cannot be kept", async () => {
    const place = temporaryDirectory();
    const cut = await bounded("fetch", found("x".repeat(101)), join(place, "no", "such"), 100);
    expect(cut.text).toBe(
      `${"x".repeat(100)}\n\n[Showing the first 100B of 101B. The rest could not be kept (ENOENT).]`,
    );
    expect(cut.path).toBeUndefined();
  });
});
