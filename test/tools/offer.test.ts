import { expect, test } from "vitest";
import { doesSame } from "../../extensions/tools/offer.ts";

const jobsOf = (name: string, description: string) =>
  (["search", "fetch"] as const).filter((tool) => doesSame(tool, { name, description }));

test.each([
  ["WebSearch", "", "search"],
  ["mcp_exa_web_search_exa", "", "search"],
  ["tavily-search", "", "search"],
  ["research", "Searches the web for a topic and sums it up", "search"],
  ["fetch", "Gets something", "fetch"],
  ["fetch_content", "Gets something", "fetch"],
  ["mcp_web_fetch_url", "", "fetch"],
  ["firecrawl_scrape", "Scrape content from a single URL with advanced options", "fetch"],
  ["reader", "Reads a web page and gives its text", "fetch"],
  ["read", "Read the contents of a file. Supports text files and images (jpg, png, gif, webp).", ""],
  ["grep", "Search file contents for a pattern.", ""],
  ["tool_search", "Search for tools by name or description and load them.", ""],
  ["code_search", "Search for code examples and documentation of libraries.", ""],
  ["prefetch", "Warms a cache", ""],
  ["kimi_search", "Search the web.", ""],
])("%s (%s) does the job of: %s", (name, description, jobs) => {
  expect(jobsOf(name, description).join()).toBe(jobs);
});
