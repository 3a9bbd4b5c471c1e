/** The access tokens pi took from its own copy of the login: any other key that it passes was given by hand. */

/** How many are remembered; two would do, a compaction may hold an old one. */
const REMEMBERED = 16;

export function createEntryTokens() {
  const tokens = new Set<string>();
  return {
    note(accessToken: string): void {
      tokens.delete(accessToken);
      tokens.add(accessToken);
      for (const oldest of tokens) {
        if (tokens.size <= REMEMBERED) break;
        tokens.delete(oldest);
      }
    },
    has: (key: string): boolean => tokens.has(key),
  };
}
