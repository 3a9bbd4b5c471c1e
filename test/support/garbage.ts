/** Garbage collections on demand, without a flag for the process. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

export async function collectGarbage(): Promise<void> {
  collect();
  // What finalizers let go of is collected by the second.
  await new Promise((resolve) => setImmediate(resolve));
  collect();
}
