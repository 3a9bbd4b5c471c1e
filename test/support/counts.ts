/** How many cases are tried: few where a contributor waits for them, all of them with TEST_COUNTS=full. */
import { binaryHost, hosts, type PiHost } from "./hosts.ts";

export const full = process.env.TEST_COUNTS === "full";

/** Where what README.md says is tried: both hosts in `npm test`, pi's standalone executable with TEST_COUNTS=full. */
export const promisedHosts: readonly PiHost[] = full && binaryHost ? [binaryHost] : hosts;

/** The number for `npm test`, or the one for `npm run test:full`. */
export function count(quick: number, all: number): number {
  return full ? all : quick;
}
