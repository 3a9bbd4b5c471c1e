import { expect, test } from "vitest";
import { judgeAddress } from "../../extensions/tools/address.ts";

/** The address that is asked for, or why none is. */
const judged = (given: string) => {
  const address = judgeAddress(given);
  return address.state === "refused" ? address.why : address.url;
};

test.each([
  [" HTTP://Example.COM:8080/a b?q=ü#part ", "http://example.com:8080/a%20b?q=%C3%BC#part"],
  ["https://münchen.de/", "https://xn--mnchen-3ya.de/"],
  ["http://172.15.255.255/", "http://172.15.255.255/"],
  ["http://172.32.0.0/", "http://172.32.0.0/"],
  ["http://[2606:4700::1111]/", "http://[2606:4700::1111]/"],
  ["https://localhost.example.com/", "https://localhost.example.com/"],
])("%s is public", (given, url) => {
  expect(judged(given)).toBe(url);
});

test.each([
  ["http://127.0.0.1:3000/", "127.0.0.1"],
  // In any notation that a browser takes.
  ["http://2130706433/", "127.0.0.1"],
  ["http://0/", "0.0.0.0"],
  ["http://10.255.0.1/", "10.255.0.1"],
  ["http://100.64.0.1/", "100.64.0.1"],
  ["http://169.254.169.254/latest/meta-data/", "169.254.169.254"],
  ["http://172.31.255.255/", "172.31.255.255"],
  ["http://192.168.1.1/", "192.168.1.1"],
  ["http://[::1]:8080/", "[::1]"],
  ["http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]"],
  ["http://[fd12:3456::1]/", "[fd12:3456::1]"],
  ["http://LOCALHOST./", "localhost"],
  ["http://app.localhost:3000/", "app.localhost"],
  ["http://printer.local/", "printer.local"],
  ["http://wiki/", "wiki"],
])("%s is on this machine or in a private network", (given, host) => {
  expect(judged(given)).toBe(
    `kimi_fetch reaches the public web alone, and ${host} is on this machine or in a private network; use bash instead, for instance with curl.`,
  );
});

test.each(["file:///etc/passwd", "example.com/page", "localhost:3000", "javascript:alert(1)", "https://"])(
  "%s is no address of the web",
  (given) => {
    expect(judged(given)).toBe(
      "kimi_fetch takes addresses that begin with https:// or http:// alone; for a file use read, else bash.",
    );
  },
);

test.each(["https://me@example.com/", "https://:secret@example.com/"])(
  "%s keeps its password to itself",
  (given) => {
    expect(judged(given)).toBe(
      "kimi_fetch sends addresses to Kimi's server, which should see no user name or password; leave it out, or use bash instead, for instance with curl.",
    );
  },
);
