/** Writes a login in one go: reserves room for it, writes it, and gives the room back. */
import type { CredentialStore } from "../../../extensions/credentials/store.ts";
import { reserveLogin, reserveSuccessor, type Writing } from "../../../extensions/credentials/successor.ts";
import type { Token } from "../../../extensions/oauth/token.ts";

/** In the place of the login whose refresh token is `replaces`. */
export async function replace(store: CredentialStore, replaces: string, token: Token): Promise<Writing> {
  const reservation = await reserveSuccessor(store);
  if (reservation.state === "failed") return reservation;
  const written = await reservation.successor.write(replaces, token);
  reservation.successor.discard();
  return written;
}

/** In the place of whatever is there. */
export function save(store: CredentialStore, token: Token): Writing {
  const reservation = reserveLogin(store);
  if (reservation.state === "failed") return reservation;
  const written = reservation.successor.save(token);
  reservation.successor.discard();
  return written;
}
