/** The figures of this process: the last known ones, and the asking for newer ones, once for all who want them. */
import type { GetFailure } from "../api-get.ts";
import { fingerprint } from "../credentials/fingerprint.ts";
import type { Access, SharedCredential } from "../credentials/shared-credential.ts";
import type { Clock } from "../oauth/clock.ts";
import { hostsOf, type Region, type RegionsInUse } from "../region.ts";
import { sayUnavailable } from "../sentences.ts";
import type { UsageAnswer } from "./fetch.ts";
import { claimWarnings } from "./given-warnings.ts";
import {
  accountFingerprint,
  type KeptFigures,
  keepFigures,
  readKeptFigures,
  type UsageAccount,
} from "./kept.ts";
import type { QuotaWarning } from "./quota-warning.ts";

export interface UsageParts {
  /** The file with the last good figures. */
  readonly path: string;
  readonly regions: RegionsInUse;
  /** One sentence why nothing may be sent anywhere. */
  readonly refusal: string | undefined;
  readonly credential: Pick<SharedCredential, "current" | "afterRejection" | "look">;
  /** A key somebody configured; it wins over a login. */
  readonly configuredKey: () => { readonly key: string } | undefined;
  /** Asks the server; never throws. */
  readonly ask: (baseUrl: string, bearer: string, signal: AbortSignal) => Promise<UsageAnswer>;
  readonly clock: Clock;
}

export type UsageOutcome =
  | { readonly state: "fresh"; readonly kept: KeptFigures; readonly region: Region }
  /** There is nothing to ask with; no request was made. `message` is a whole sentence. */
  | { readonly state: "unavailable"; readonly message: string }
  | { readonly state: "failed"; readonly failure: GetFailure; readonly region: Region };

export type Usage = ReturnType<typeof createUsage>;

type Caller =
  | { readonly kind: "key"; readonly key: string; readonly region: Region; readonly account: UsageAccount }
  | {
      readonly kind: "login";
      readonly token: string;
      readonly region: Region;
      readonly account: UsageAccount;
    }
  | { readonly kind: "none"; readonly message: string };

/** Asks for nothing by itself. */
export function createUsage({ path, regions, refusal, credential, configuredKey, ask, clock }: UsageParts) {
  const asking = new Map<string | undefined, Promise<UsageOutcome>>();
  let leaving = new AbortController();

  const baseUrl = (region: Region) => hostsOf(regions, region).baseUrl;

  function keyCaller(key: string): Extract<Caller, { kind: "key" }> {
    const [{ region }] = regions;
    const account = { owner: "key", path: fingerprint(key), baseUrl: baseUrl(region) };
    return { kind: "key", key, region, account };
  }

  function toCaller(access: Access): Caller {
    if (access.state === "unavailable") return { kind: "none", message: sayUnavailable(access.reason) };
    const { token, store } = access;
    return { kind: "login", token: token.accessToken, region: store.region, account: accountOf(store) };
  }

  function accountOf({ owner, path, region }: { owner: string; path: string; region: Region }): UsageAccount {
    return { owner, path, baseUrl: baseUrl(region) };
  }

  async function account(handKey: string | undefined): Promise<UsageAccount | undefined> {
    const key = handKey ?? configuredKey()?.key;
    if (key !== undefined) return keyCaller(key).account;
    const choice = await credential.look();
    switch (choice.state) {
      case "use":
        return accountOf(choice.store);
      case "mirror":
        return accountOf(choice.problem.store);
      case "none":
        return undefined;
    }
  }

  async function run(handKey: string | undefined, signal: AbortSignal): Promise<UsageOutcome> {
    if (refusal !== undefined) return { state: "unavailable", message: refusal };
    const key = handKey ?? configuredKey()?.key;
    const caller = key === undefined ? toCaller(await credential.current(false)) : keyCaller(key);
    if (caller.kind === "none") return { state: "unavailable", message: caller.message };
    const outcome = await askAs(caller, signal);
    const rejected = outcome.state === "failed" && isRejection(outcome.failure);
    if (!rejected || caller.kind === "key") return outcome;
    const again = toCaller(await credential.afterRejection(caller.token));
    return again.kind === "none" ? { state: "unavailable", message: again.message } : askAs(again, signal);
  }

  async function askAs(
    caller: Exclude<Caller, { kind: "none" }>,
    signal: AbortSignal,
  ): Promise<UsageOutcome> {
    const { region, account } = caller;
    const bearer = caller.kind === "key" ? caller.key : caller.token;
    const answer = await ask(baseUrl(region), bearer, signal);
    if (answer.state !== "figures") return { state: "failed", failure: answer, region };
    const kept = { figures: answer.figures, fetchedAt: clock.now() };
    await keepFigures(path, account, kept);
    return { state: "fresh", kept, region };
  }

  return {
    /** The sentence for why there is nothing to ask with; undefined when there is. Looks at files only. */
    async unavailable(handKey?: string): Promise<string | undefined> {
      if (refusal !== undefined) return refusal;
      if ((handKey ?? configuredKey()?.key) !== undefined) return undefined;
      const choice = await credential.look();
      return choice.state === "none" ? sayUnavailable(choice.reason) : undefined;
    },

    /**
     * The last known figures of whoever a request would be sent as; `handKey` is a key given by hand for this run. Looks
     * at files only; never throws.
     */
    async last(handKey?: string): Promise<KeptFigures | undefined> {
      const asked = await account(handKey);
      return asked && readKeptFigures(path, asked);
    },

    /** The same, with whose they are; `account` is undefined where there is nothing to ask with. */
    async known(handKey?: string): Promise<{
      readonly account: string | undefined;
      readonly kept: KeptFigures | undefined;
    }> {
      const asked = refusal === undefined ? await account(handKey) : undefined;
      return { account: asked && accountFingerprint(asked), kept: asked && readKeptFigures(path, asked) };
    },

    /** Those of `warnings` that no pi process has given yet to `account`, as `known` names it. Never throws. */
    claimWarnings: (account: string, warnings: readonly QuotaWarning[]) =>
      claimWarnings(path, account, warnings, clock.now()),

    /**
     * Asks the server, or joins those who are asking. A 401 costs one renewal and one repetition. Never throws. It is
     * bounded, but by the sum of the exchanges it takes: whoever has somebody waiting races it against a shorter time.
     */
    refresh(handKey?: string): Promise<UsageOutcome> {
      const under = asking.get(handKey);
      if (under) return under;
      const started = run(handKey, leaving.signal).finally(() => asking.delete(handKey));
      asking.set(handKey, started);
      return started;
    },

    /** For the end of the session: gives up what is under way, for nothing is lost but the answer. */
    stop(): void {
      leaving.abort();
      leaving = new AbortController();
    },
  };
}

function isRejection(failure: GetFailure): boolean {
  return failure.state === "refused" && failure.status === 401;
}
