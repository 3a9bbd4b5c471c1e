/** What a request is sent with. */
import type { Region } from "../region.ts";

/** What a request may be sent with, and the region that it belongs to (undefined = kimi.com). */
export type Bearer =
  /** A key somebody configured: sent as it is, never renewed. */
  | { readonly state: "key"; readonly key: string; readonly region?: Region }
  | {
      readonly state: "token";
      readonly accessToken: string;
      readonly region?: Region;
      /** Where the login is kept, which says whose account it is. */
      readonly source?: { readonly owner: string; readonly path: string };
    }
  /** Nothing may be sent; `message` says why and what to do. */
  | { readonly state: "none"; readonly message: string };

export type Usable = Exclude<Bearer, { state: "none" }>;
