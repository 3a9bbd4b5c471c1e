/** A token response as it goes over the wire (RFC 6749 §5.1). */
import type { IssuedToken } from "./types.ts";

/** `expires_at` is what clients keep in files; the server never says it. */
export function withoutExpiry({ expires_at: _, ...response }: IssuedToken): Omit<IssuedToken, "expires_at"> {
  return response;
}
