import { describe, expect, test } from "vitest";
import { judgeAddress } from "../../extensions/tools/address.ts";

const why = (given: string) => {
  const address = judgeAddress(given, "build.example.com");
  return address.state === "refused" ? address.why : address.url;
};

test.each([
  ["https://example.com", "https://example.com/"],
  [" HTTP://Example.COM:8080/a b?q=ü#part ", "http://example.com:8080/a%20b?q=%C3%BC#part"],
  ["https://münchen.de/", "https://xn--mnchen-3ya.de/"],
  ["http://172.15.255.255/", "http://172.15.255.255/"],
  ["http://172.32.0.0/", "http://172.32.0.0/"],
  ["http://[2606:4700::1111]/", "http://[2606:4700::1111]/"],
  ["https://localhost.example.com/", "https://localhost.example.com/"],
])("%s is public", (given, url) => {
  expect(judgeAddress(given, "build.example.com")).toEqual({ state: "public", url });
});

describe("what is on this machine or in a private network is refused, with what to use instead", () => {
  test.each([
    // In any notation that a browser takes.
    ["http://127.0.0.1:3000/", "127.0.0.1"],
    ["http://2130706433/", "127.0.0.1"],
    ["http://0x7f.1/", "127.0.0.1"],
    ["http://１２７.0.0.1/", "127.0.0.1"],
    ["http://0/", "0.0.0.0"],
    ["http://10.255.0.1/", "10.255.0.1"],
    ["http://100.64.0.1/", "100.64.0.1"],
    ["http://169.254.169.254/latest/meta-data/", "169.254.169.254"],
    ["http://172.31.255.255/", "172.31.255.255"],
    ["http://192.168.1.1/", "192.168.1.1"],
    ["http://198.19.0.1/", "198.19.0.1"],
    ["http://224.0.0.251/", "224.0.0.251"],
    ["http://[::1]:8080/", "[::1]"],
    ["http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]"],
    ["http://[64:ff9b::10.0.0.1]/", "[64:ff9b::a00:1]"],
    ["http://[2002:7f00:1::]/", "[2002:7f00:1::]"],
    ["http://[2001:0:1::]/", "[2001:0:1::]"],
    ["http://[fd12:3456::1]/", "[fd12:3456::1]"],
    ["http://[fe80::1]/", "[fe80::1]"],
    ["http://[ff02::1]/", "[ff02::1]"],
    ["http://LOCALHOST./", "localhost"],
    ["http://app.localhost:3000/", "app.localhost"],
    ["http://localhost.localdomain/", "localhost.localdomain"],
    ["http://printer.local/", "printer.local"],
    ["http://db.prod.internal/", "db.prod.internal"],
    ["http://router.home.arpa/", "router.home.arpa"],
    ["http://nas.lan/", "nas.lan"],
    ["http://wiki/", "wiki"],
    ["http://abc.onion/", "abc.onion"],
    ["https://Build.Example.com/", "build.example.com"],
  ])("%s", (given, host) => {
    expect(why(given)).toBe(
      `kimi_fetch reaches the public web alone, and ${host} is on this machine or in a private network; use bash instead, for instance with curl.`,
    );
  });
});

test.each([
  ["file:///etc/passwd", "kimi_fetch fetches from the web; for a file use read."],
  [
    "example.com/page",
    "kimi_fetch takes a whole address that begins with https:// or http://; for a file use read.",
  ],
  [
    "localhost:3000",
    "kimi_fetch takes https:// and http:// addresses alone, not localhost:; use bash instead, for instance with curl.",
  ],
  [
    "javascript:alert(1)",
    "kimi_fetch takes https:// and http:// addresses alone, not javascript:; use bash instead, for instance with curl.",
  ],
])("%s is no address of the web", (given, sentence) => {
  expect(why(given)).toBe(sentence);
});

test.each(["https://me@example.com/", "https://:secret@example.com/"])(
  "%s keeps its password to itself",
  (given) => {
    expect(why(given)).toBe(
      "kimi_fetch sends addresses to Kimi's server, which should see no user name or password; leave it out, or use bash instead, for instance with curl.",
    );
  },
);
