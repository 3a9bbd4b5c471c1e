/** What most end-to-end tests begin with: a Kimi service and an empty home, both gone when the test is over. */
import { onTestFinished } from "vitest";
import { createHome, type Home } from "./home.ts";
import {
  type IssuedToken,
  type KimiService,
  type KimiServiceOptions,
  startKimiService,
} from "./kimi-service/index.ts";

export interface World {
  readonly service: KimiService;
  readonly home: Home;
  /** The variables that lead programs to the service, plus `extra`. */
  env(extra?: Readonly<Record<string, string>>): { readonly env: Record<string, string> };
  /** A login of kimi-cli, its access token good or ended a minute ago. */
  logInToKimiCli(state?: "valid" | "expired"): IssuedToken;
}

export async function createWorld(options?: KimiServiceOptions): Promise<World> {
  const service = await startKimiService(options);
  const home = createHome();
  onTestFinished(async () => {
    home.remove();
    await service.close();
  });
  return {
    service,
    home,
    env: (extra = {}) => ({ env: { ...service.environment, ...extra } }),
    logInToKimiCli(state = "valid") {
      const token = service.issueLogin();
      if (state === "expired") service.expireAccessTokens();
      const expires_at = state === "expired" ? service.now() / 1000 - 60 : token.expires_at;
      home.writeKimiCli({ ...token, expires_at });
      return token;
    },
  };
}
