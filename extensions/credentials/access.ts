/** What a request that needs the login gets: a token, or the reason why there is none. */
import type { Token } from "../oauth/token.ts";
import type { Renewal, RenewalFailure } from "./renewal.ts";
import type { NoLogin } from "./selection.ts";
import type { CredentialStore } from "./store.ts";

export type Access =
  | { readonly state: "ready"; readonly token: Token; readonly store: CredentialStore }
  | { readonly state: "unavailable"; readonly reason: Unavailable };

export type Unavailable =
  | NoLogin
  | { readonly kind: "refused"; readonly store: CredentialStore }
  | { readonly kind: "failed"; readonly store: CredentialStore; readonly cause: RenewalFailure };

/** A renewal that gave nothing, as a reason. */
export function unavailable(
  result: Extract<Renewal, { state: "gone" | "refused" | "failed" }>,
  store: CredentialStore,
): Access {
  switch (result.state) {
    case "gone":
      return {
        state: "unavailable",
        reason: { kind: "problem", problem: { store, found: result.found } },
      };
    case "refused":
      return { state: "unavailable", reason: { kind: "refused", store } };
    case "failed":
      return { state: "unavailable", reason: { kind: "failed", store, cause: result.cause } };
  }
}
