import type { RpcPi } from "./rpc.ts";

/** Bytes in use in a pi that was started with skewed-clock.ts, after a garbage collection. */
export async function heapOf(pi: RpcPi): Promise<number> {
  const from = pi.events.length;
  await pi.request({ type: "prompt", message: "/heap" });
  const { message } = await pi.waitFor((event) => /^heap \d+$/.test(String(event.message)), { from });
  return Number(String(message).split(" ")[1]);
}
