/** A renewal as kimi-cli 1.49 does it, on the world's clock; see test/support/peers/kimi_cli_peer.py. */
import { needsRefresh } from "../../../extensions/oauth/token.ts";
import type { LockTable } from "./lock-table.ts";
import { putLogin, type Refresh, type World } from "./world.ts";

export interface KimiCliParts {
  readonly world: World;
  readonly locks: LockTable;
  readonly refresh: Refresh;
  /** Between two tries for its lock, ms: from 1,000 to 2,200. */
  readonly pause: number;
  /** Told when it begins to present a refresh token; what it returns is told when that is over, and what was written. */
  readonly presenting?: (refreshToken: string, isLocked: boolean) => (written: string | undefined) => void;
}

/** How often it tries for its lock: then it goes on without. */
const LOCK_TRIES = 6;
/** Its attempts to renew, 2^n s apart. */
const TOKEN_TRIES = 3;

export async function renewAsKimiCli(parts: KimiCliParts): Promise<"not due" | "adopted" | "asked"> {
  const { locks, pause, presenting } = parts;
  const { clock, kimiCli } = parts.world;
  const present = async () => {
    const found = await kimiCli.read();
    return found.state === "present" ? found.token : undefined;
  };
  const seen = await present();
  if (!seen || !needsRefresh(seen, clock.now())) return "not due";
  const path = kimiCli.locks.at(-1)?.path ?? "";
  const owner = {};
  let release = await locks.tryTake(path, owner);
  for (let tries = 1; !release && tries < LOCK_TRIES; tries++) {
    await clock.sleep(pause);
    release = await locks.tryTake(path, owner);
  }
  try {
    const latest = await present();
    if (!latest) return "not due";
    if (latest.refreshToken !== seen.refreshToken && !needsRefresh(latest, clock.now())) return "adopted";
    const over = presenting?.(latest.refreshToken, release !== undefined);
    const written = await ask(parts, latest.refreshToken);
    over?.(written);
    return "asked";
  } finally {
    await release?.();
  }
}

/** Returns the refresh token that it has written. */
async function ask({ world, refresh }: KimiCliParts, refreshToken: string): Promise<string | undefined> {
  for (let attempt = 0; attempt < TOKEN_TRIES; attempt++) {
    if (attempt > 0) await world.clock.sleep(2 ** (attempt - 1) * 1_000);
    const outcome = await refresh(refreshToken);
    if (outcome.state === "refused") return undefined;
    if (outcome.state === "failed") continue;
    const { token } = outcome;
    putLogin(world.kimiCli.path, {
      access_token: token.accessToken,
      refresh_token: token.refreshToken,
      expires_at: token.expiresAt / 1_000,
      scope: token.scope,
      token_type: token.tokenType,
      expires_in: token.lifetime / 1_000,
    });
    return token.refreshToken;
  }
  return undefined;
}
