/** The logins the authorization server knows: each a chain of refresh tokens that are good for one use. */
import { randomBytes } from "node:crypto";
import type { IssuedToken, KimiServiceOptions } from "./types.ts";

interface Login {
  readonly account: string;
  tokens: IssuedToken;
  revoked: boolean;
}

interface AccessToken {
  readonly login: Login;
  readonly expiresAt: number;
  revoked: boolean;
}

export type RotationOutcome =
  | { readonly state: "rotated"; readonly tokens: IssuedToken }
  | { readonly state: "reused" | "dead" | "unknown" };

export type Logins = ReturnType<typeof createLogins>;

/** As it goes over the wire (RFC 6749 §5.1): `expires_at` is what clients keep in files. */
export function withoutExpiry({ expires_at: _, ...response }: IssuedToken): Omit<IssuedToken, "expires_at"> {
  return response;
}

export function createLogins(now: () => number, options: KimiServiceOptions) {
  const lifetime = options.accessTokenLifetime ?? 900;
  const byRefreshToken = new Map<string, Login>();
  const accessTokens = new Map<string, AccessToken>();

  const mint = (kind: string) => `${kind}-${randomBytes(24).toString("base64url")}`;
  const mintTokens = (): IssuedToken => ({
    access_token: mint("at-sim"),
    refresh_token: mint("rt-sim"),
    expires_in: lifetime,
    scope: "kimi-code",
    token_type: "Bearer",
    expires_at: now() / 1000 + lifetime,
  });
  const record = (login: Login) => {
    byRefreshToken.set(login.tokens.refresh_token, login);
    const expiresAt = now() + lifetime * 1000;
    accessTokens.set(login.tokens.access_token, { login, expiresAt, revoked: false });
  };

  return {
    issue(account = "someone"): IssuedToken {
      const login = { account, tokens: mintTokens(), revoked: false };
      record(login);
      return login.tokens;
    },
    /** The refresh grant: gives new tokens for a refresh token that was not used yet. */
    rotate(refreshToken: string): RotationOutcome {
      const login = byRefreshToken.get(refreshToken);
      if (!login) return { state: "unknown" };
      if (login.tokens.refresh_token !== refreshToken) {
        if (options.reusePolicy !== "refuse") login.revoked = true;
        return { state: "reused" };
      }
      if (login.revoked) return { state: "dead" };
      login.tokens = mintTokens();
      record(login);
      return { state: "rotated", tokens: login.tokens };
    },
    /** The account a bearer token stands for, while it is good. */
    accountOf(accessToken: string): string | undefined {
      const access = accessTokens.get(accessToken);
      const good = access && !access.revoked && !access.login.revoked && now() < access.expiresAt;
      return good ? access.login.account : undefined;
    },
    /** Ends an access token, or all. */
    revokeAccess(accessToken?: string) {
      for (const [token, access] of accessTokens) {
        if (accessToken === undefined || accessToken === token) access.revoked = true;
      }
    },
    revoke(refreshToken?: string) {
      for (const [token, login] of byRefreshToken) {
        if (refreshToken === undefined || refreshToken === token) login.revoked = true;
      }
    },
    current(refreshToken: string): IssuedToken | undefined {
      const login = byRefreshToken.get(refreshToken);
      return login?.revoked ? undefined : login?.tokens;
    },
    secrets: () => [...byRefreshToken.keys(), ...accessTokens.keys()],
  };
}
