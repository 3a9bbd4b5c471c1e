/**
 * Which addresses mean anything to Kimi's server: it fetches from where it stands, so what is on this machine or in a
 * private network is not what is meant there. Pure; no name is looked up.
 */
import { BlockList, isIP } from "node:net";
import { oneLine } from "../lib/safe-text.ts";

export type Address =
  | { readonly state: "public"; readonly url: string }
  /** `why` is a whole sentence that says what to use instead. */
  | { readonly state: "refused"; readonly why: string };

/** This machine and private networks (RFC 6890), carrier-grade NAT and Tailscale among them (RFC 6598). */
const PRIVATE_4 = blockList("ipv4", [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
]);
/** Global unicast, RFC 4291 §2.4. What is outside is this machine's, a private network's, or IPv4 in other clothes. */
const GLOBAL_6 = blockList("ipv6", [["2000::", 3]]);

/** One for each family: Node finds IPv4 addresses in networks of IPv6 too. */
function blockList(family: "ipv4" | "ipv6", networks: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of networks) list.addSubnet(network, prefix, family);
  return list;
}

/** RFC 6761, 6762 (with appendix G), 8375, and ICANN's `internal`: names that the public DNS does not have. */
const PRIVATE_NAME =
  /(?:^|\.)(?:localhost|localdomain|local|internal|intranet|private|corp|home|lan|home\.arpa|test)$/;

const INSTEAD = "use bash instead, for instance with curl";

/** Judges what the model gave. Never throws. */
export function judgeAddress(given: string): Address {
  const refused = (why: string): Address => ({ state: "refused", why: `kimi_fetch ${why}.` });
  const text = given.trim();
  if (!/^https?:/i.test(text) || !URL.canParse(text))
    return refused(
      `takes addresses that begin with https:// or http:// alone; for a file use read, else bash`,
    );
  // The parser also turns what stands for an IPv4 address in decimal, octal or hexadecimal into its usual form.
  const { username, password, hostname, href } = new URL(text);
  if (username !== "" || password !== "")
    return refused(
      `sends addresses to Kimi's server, which should see no user name or password; leave it out, or ${INSTEAD}`,
    );
  const host = hostname.replace(/\.+$/, "");
  if (isPrivate(host))
    return refused(
      `reaches the public web alone, and ${oneLine(host, 100)} is on this machine or in a private network; ${INSTEAD}`,
    );
  return { state: "public", url: href };
}

/** `host` as the URL parser gives it, without trailing dots. */
function isPrivate(host: string): boolean {
  const address = host.replace(/^\[|\]$/g, "");
  switch (isIP(address)) {
    case 4:
      return PRIVATE_4.check(address, "ipv4");
    case 6:
      return !GLOBAL_6.check(address, "ipv6");
    default:
      return !host.includes(".") || PRIVATE_NAME.test(host);
  }
}
