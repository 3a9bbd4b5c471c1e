/** What tests of renewals and logins need beside the world in which they happen. */
import { InFlight, type Renewal } from "../../../extensions/credentials/in-flight.ts";
import { renew } from "../../../extensions/credentials/renew.ts";
import type { CredentialStore } from "../../../extensions/credentials/store.ts";
import type { IssuedToken } from "../../support/kimi-service/index.ts";
import { deferred, type Refresh, type World } from "./world.ts";

export const MINUTE = 60_000;

/** A process that renews and does nothing else: what it knows of what is under way, and its renewals. */
export function renewing(
  { kimiCli, refresh, clock }: World,
  options: { readonly store?: CredentialStore; readonly refresh?: Refresh } = {},
): { readonly inFlight: InFlight; readonly renew: (rejected?: string) => Promise<Renewal> } {
  const inFlight = new InFlight(clock, () => ({ release() {} }));
  const parts = { store: kimiCli, refresh, clock, inFlight, ...options };
  return { inFlight, renew: (rejected) => renew(parts, rejected) };
}

/** Every refresh token that was presented, in order. */
export function presented({ service }: World): (string | undefined)[] {
  return service.refreshes().map(({ refreshToken }) => refreshToken);
}

/** What the service gave last for this login. */
export function newest({ service }: World, login: IssuedToken): IssuedToken {
  const tokens = service.currentTokens(login.refresh_token);
  if (!tokens) throw new Error("the login is dead");
  return tokens;
}

/** Waits until the next to wake does so in `ms`. */
export async function sleepsFor({ clock }: World, ms: number): Promise<void> {
  while (clock.next() !== ms) await new Promise(setImmediate);
}

/** A refresh whose answer is late until the test lets it through; `sent` resolves when the service has answered. */
export function lateAnswer(world: World): {
  readonly refresh: Refresh;
  readonly sent: Promise<void>;
  readonly answer: () => void;
} {
  const [sent, gate] = [deferred<void>(), deferred<void>()];
  return {
    sent: sent.promise,
    answer: () => gate.resolve(),
    async refresh(refreshToken) {
      const outcome = await world.refresh(refreshToken);
      sent.resolve();
      await gate.promise;
      return outcome;
    },
  };
}
