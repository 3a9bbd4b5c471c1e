/**
 * Which addresses mean anything to Kimi's server: it fetches from where it stands, so what is on this machine or in a
 * private network is not what is meant there. Pure; no name is looked up.
 */
import { BlockList, isIP } from "node:net";
import { hostname } from "node:os";
import { oneLine } from "../lib/safe-text.ts";

export type Address =
  | { readonly state: "public"; readonly url: string }
  /** `why` is a whole sentence that says what to use instead. */
  | { readonly state: "refused"; readonly why: string };

/** What of IANA's special-purpose registry (RFC 6890 and its updates) is reached from no other network. */
const PRIVATE_4 = blockList("ipv4", [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 3],
]);
/** Global unicast, RFC 4291 §2.4. What is outside is this machine's, a private network's, or IPv4 in other clothes. */
const GLOBAL_6 = blockList("ipv6", [["2000::", 3]]);
/** 6to4 and Teredo hold an IPv4 address. */
const IPV4_IN_6 = blockList("ipv6", [
  ["2001::", 32],
  ["2002::", 16],
]);

/** One for each family: Node finds IPv4 addresses in networks of IPv6 too. */
function blockList(family: "ipv4" | "ipv6", networks: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of networks) list.addSubnet(network, prefix, family);
  return list;
}

/** RFC 6761, 6762 (with appendix G), 7686, 8375, and ICANN's `internal`: names that the public DNS does not have. */
const PRIVATE_NAME =
  /(?:^|\.)(?:localhost|localdomain|local|internal|intranet|private|corp|home|lan|home\.arpa|test|invalid|onion)$/;

const INSTEAD = "use bash instead, for instance with curl";

/** Judges what the model gave; `machine` is the name of this one. Never throws. */
export function judgeAddress(given: string, machine = hostname()): Address {
  const refused = (why: string): Address => ({ state: "refused", why: `kimi_fetch ${why}.` });
  const text = given.trim();
  if (!URL.canParse(text))
    return refused("takes a whole address that begins with https:// or http://; for a file use read");
  // The parser also turns what stands for an IPv4 address in decimal, octal or hexadecimal into its usual form.
  const url = new URL(text);
  if (url.protocol === "file:") return refused("fetches from the web; for a file use read");
  if (url.protocol !== "https:" && url.protocol !== "http:")
    return refused(
      `takes https:// and http:// addresses alone, not ${oneLine(url.protocol, 20)}; ${INSTEAD}`,
    );
  if (url.username !== "" || url.password !== "")
    return refused(
      `sends addresses to Kimi's server, which should see no user name or password; leave it out, or ${INSTEAD}`,
    );
  const host = url.hostname.replace(/\.+$/, "");
  if (isPrivate(host) || host === machine.toLowerCase())
    return refused(
      `reaches the public web alone, and ${oneLine(host, 100)} is on this machine or in a private network; ${INSTEAD}`,
    );
  return { state: "public", url: url.href };
}

/** `host` as the URL parser gives it, without trailing dots. */
function isPrivate(host: string): boolean {
  const address = host.replace(/^\[|\]$/g, "");
  switch (isIP(address)) {
    case 4:
      return PRIVATE_4.check(address, "ipv4");
    case 6:
      return !GLOBAL_6.check(address, "ipv6") || IPV4_IN_6.check(address, "ipv6");
    default:
      return !host.includes(".") || PRIVATE_NAME.test(host);
  }
}
