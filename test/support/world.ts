/** What most end-to-end tests begin with: a Kimi service and an empty home, both gone when the test is over. */
import { onTestFinished, test } from "vitest";
import type { Token } from "../../extensions/oauth/token.ts";
import { createHome, type Home } from "./home.ts";
import {
  type IssuedToken,
  type KimiService,
  type KimiServiceOptions,
  startKimiService,
} from "./kimi-service/index.ts";

/** Of the access token: good for its whole life, good but to be renewed, or ended a minute ago. */
export type LoginState = "valid" | "due" | "expired";

export interface World {
  readonly service: KimiService;
  readonly home: Home;
  /** The variables that lead programs to the service, plus `extra`. */
  env(extra?: Readonly<Record<string, string>>): { readonly env: Record<string, string> };
  /** A login of kimi-cli. */
  logInToKimiCli(state?: LoginState): IssuedToken;
  /** The same of kimi-code. */
  logInToKimiCode(state?: LoginState): IssuedToken;
  /** pi's copy of a login, as an earlier run has left it in auth.json. */
  mirror(token: IssuedToken, owner: "kimi-cli" | "kimi-code"): void;
}

/** Tests that run at the same time give their own context's `onTestFinished`. */
export async function createWorld(
  options?: KimiServiceOptions,
  atEnd: typeof onTestFinished = onTestFinished,
): Promise<World> {
  const service = await startKimiService(options);
  const home = createHome();
  atEnd(async () => {
    home.remove();
    await service.close();
  });
  const issue = (state: LoginState): IssuedToken => {
    const token = service.issueLogin();
    if (state === "expired") service.expireAccessTokens();
    const left = { valid: token.expires_in, due: 200, expired: -60 }[state];
    return { ...token, expires_at: service.now() / 1000 + left };
  };
  return {
    service,
    home,
    env: (extra = {}) => ({ env: { ...service.environment, ...extra } }),
    logInToKimiCli(state = "valid") {
      const token = issue(state);
      home.writeKimiCli(token);
      return token;
    },
    logInToKimiCode(state = "valid") {
      const token = issue(state);
      home.writeKimiCode(token, service);
      return token;
    },
    mirror(token, owner) {
      const source = owner === "kimi-cli" ? home.kimiCliPath : home.kimiCodePath(service);
      const { access_token: access, refresh_token: refresh, expires_at } = token;
      const expires = Math.floor(expires_at * 1000);
      home.writeAuth({ "kimi-coder": { type: "oauth", access, refresh, expires, owner, source } });
    },
  };
}

export interface LoggedInWorld extends World {
  /** Of kimi-cli, valid at first. */
  readonly login: IssuedToken;
}

export async function createLoggedInWorld(...given: Parameters<typeof createWorld>): Promise<LoggedInWorld> {
  const world = await createWorld(...given);
  return { ...world, login: world.logInToKimiCli() };
}

/** A `test` that is given a world of its own. */
export const worldTest = test.extend<{ world: World }>({
  world: async ({ onTestFinished: atEnd }, use) => use(await createWorld({}, atEnd)),
});

/** The same token in this extension's words. */
export function asToken(issued: IssuedToken): Token {
  return {
    accessToken: issued.access_token,
    refreshToken: issued.refresh_token,
    expiresAt: issued.expires_at * 1000,
    lifetime: issued.expires_in * 1000,
    scope: issued.scope,
    tokenType: issued.token_type,
  };
}
