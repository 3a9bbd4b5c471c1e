/** How many cases are tried: few where a contributor waits for them, all of them with TEST_COUNTS=full. */
export const full = process.env.TEST_COUNTS === "full";

/** The number for `npm test`, or the one for `npm run test:full`. */
export function count(quick: number, all: number): number {
  return full ? all : quick;
}
