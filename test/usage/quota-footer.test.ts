/** On which of pi's events the footer looks. */
import { expect, test, vi } from "vitest";
import { lazy } from "../../extensions/lazy.ts";
import { followQuota } from "../../extensions/quota-footer.ts";

type Handler = (event: object, ctx: object) => void;

function follow() {
  const handlers = new Map<string, Handler>();
  const pi = JSON.parse("{}");
  pi.on = (event: string, handler: Handler) => handlers.set(event, handler);
  const update = vi.fn(async () => {});
  const footer = lazy(async () => ({ update, stop: () => {} }));
  followQuota(pi, footer, true);
  return {
    update,
    async fire(event: string, provider: string, hasUI = true) {
      const model = { provider };
      handlers.get(event)?.({ model }, { hasUI, model });
      await footer.load();
      await new Promise(setImmediate);
    },
  };
}

test.each(["session_start", "model_select", "agent_start", "turn_end"])("looks at %s", async (event) => {
  const { update, fire } = follow();
  await fire(event, "kimi-coder", false);
  await fire(event, "openai");
  expect(update).not.toHaveBeenCalled();
  await fire(event, "kimi-coder");
  expect(update).toHaveBeenLastCalledWith(expect.anything(), true, event === "agent_start");
  await fire(event, "openai");
  expect(update).toHaveBeenLastCalledWith(expect.anything(), false, event === "agent_start");
});
