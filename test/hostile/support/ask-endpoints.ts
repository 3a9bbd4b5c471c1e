/** Asks every endpoint of a hostile server at once in a process of its own, and says what came of each; see endpoints.test.ts. */
import { Connection, chatFetch } from "../../../extensions/chat/fetch.ts";
import { getJson } from "../../../extensions/lib/http.ts";
import { parseServerList } from "../../../extensions/models/list.ts";
import { poll, requestDeviceAuthorization } from "../../../extensions/oauth/device-authorization.ts";
import { refresh } from "../../../extensions/oauth/token-endpoint.ts";
import { fetchUsage } from "../../../extensions/quota/usage.ts";

const [, , , url = ""] = process.argv;
/** ms; the real ones are 15 and 20 s. */
const TIMEOUT = 1_500;
const server = { host: url, clientId: "client", fetch, identity: async () => ({ "User-Agent": "x" }) };
const never = new AbortController().signal;

const ask: Record<string, () => Promise<unknown>> = {
  refresh: () => refresh(server, "refresh-1", Date.now, TIMEOUT),
  device: () => requestDeviceAuthorization(server, Date.now, AbortSignal.timeout(TIMEOUT)),
  poll: () => poll(server, "device-1", Date.now, AbortSignal.timeout(TIMEOUT)),
  async models() {
    const api = { baseUrl: url, fetch, timeout: TIMEOUT };
    const answer = await getJson(api, "/models", "access-1", 128 * 1024, never);
    const isList = answer.state !== "answered" || parseServerList(answer.value).length > 0;
    return isList ? answer : { state: "unusable" };
  },
  /** `/usages` and `/me`. */
  usage: () => fetchUsage({ baseUrl: url, fetch, timeout: TIMEOUT }, "access-1", never),
  /** As the adapter reads an error: all of it. */
  async chat() {
    try {
      const ask = chatFetch(url, fetch, () => new Set(), new Connection());
      const answer = await ask(`${url}/chat/completions`, { method: "POST", body: "{}" });
      const text = await answer.text();
      return { status: answer.status, length: text.length, redirected: answer.redirected };
    } catch (error) {
      return { state: "lost", because: String(error) };
    }
  },
};

const before = process.memoryUsage.rss();
let peak = before;
const look = () => {
  peak = Math.max(peak, process.memoryUsage.rss());
};
const sampler = setInterval(look, 5);
const outcomes: Record<string, { readonly outcome: unknown; readonly ms: number }> = {};
await Promise.all(
  Object.entries(ask).map(async ([name, run]) => {
    const begun = performance.now();
    const outcome = await run();
    outcomes[name] = { outcome, ms: performance.now() - begun };
  }),
);
clearInterval(sampler);
look();
process.stdout.write(JSON.stringify({ outcomes, grown: peak - before }));
