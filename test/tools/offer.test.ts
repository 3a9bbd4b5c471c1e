import { describe, expect, test } from "vitest";
import { doesSame } from "../../extensions/tools/offer.ts";

const NONE: readonly (readonly [name: string, description: string])[] = [
  ["read", "Read the contents of a file. Supports text files and images (jpg, png, gif, webp)."],
  ["bash", "Execute a bash command in the current working directory."],
  ["grep", "Search file contents for a pattern."],
  ["find", "Search for files by glob pattern."],
  ["tool_search", "Search for tools by name or description and load them."],
  ["code_search", "Search for code examples and documentation of libraries."],
  ["prefetch", "Warms a cache"],
  ["kimi_search", "Search the web."],
  ["kimi_fetch", "Get a public web page as Markdown."],
];

describe("tools that do the same", () => {
  test.each([
    ["web_search", "Looks something up"],
    ["WebSearch", ""],
    ["websearch", ""],
    ["mcp_exa_web_search_exa", ""],
    ["tavily-search", ""],
    ["brave_search", ""],
    ["research", "Searches the web for a topic and sums it up"],
    ["lookup", "Search the internet"],
  ])("as a search: %s", (name, description) => {
    expect(doesSame("search", { name, description })).toBe(true);
    expect(doesSame("fetch", { name, description })).toBe(false);
  });

  test.each([
    ["fetch", "Gets something"],
    ["WebFetch", ""],
    ["web_fetch", ""],
    ["fetch_content", "Gets something"],
    ["mcp_web_fetch_url", ""],
    ["firecrawl_scrape", "Scrape content from a single URL with advanced options"],
    ["reader", "Reads a web page and gives its text"],
    ["extract", "Extracts the text of one or more URLs"],
  ])("as a fetch: %s", (name, description) => {
    expect(doesSame("fetch", { name, description })).toBe(true);
    expect(doesSame("search", { name, description })).toBe(false);
  });

  test.each(NONE)("not: %s", (name, description) => {
    expect(doesSame("search", { name, description })).toBe(false);
    expect(doesSame("fetch", { name, description })).toBe(false);
  });
});
