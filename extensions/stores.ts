/** Where logins are, and where one made in pi goes: the stores of every region in use. */
import { join } from "node:path";
import type { Configuration } from "./configuration.ts";
import { kimiCliStore } from "./credentials/kimi-cli.ts";
import { kimiCodeStore } from "./credentials/kimi-code.ts";
import { opencodeKimiAuthStore } from "./credentials/opencode-kimi-auth.ts";
import { opencodeKimiFullStore } from "./credentials/opencode-kimi-full.ts";
import type { CredentialStore, LoginStore } from "./credentials/store.ts";
import { type Region, USUAL_REGION } from "./region.ts";

export interface Stores {
  /** In order of preference; only those whose tokens belong to a region in use. */
  readonly all: readonly CredentialStore[];
  /**
   * Where a login of `region` is saved: for kimi-cli, but not where kimi-cli would present it to another region's server.
   * Then it goes into kimi-code's home, which has a place for each region.
   */
  readonly forLogin: (region: Region) => LoginStore;
}

type Places = Pick<
  Configuration,
  "regions" | "kimiCliRegion" | "kimiShare" | "kimiCodeHome" | "dataHome" | "home"
>;

export function createStores(places: Places): Stores {
  const { regions, kimiCliRegion, kimiShare, kimiCodeHome, dataHome, home } = places;
  const kimiCli =
    kimiCliRegion === undefined ? [] : [kimiCliStore({ share: kimiShare, region: kimiCliRegion })];
  const [first, ...others] = regions;
  const firstKimiCode = kimiCodeStore({ home: kimiCodeHome, ...first });
  const kimiCode = [firstKimiCode, ...others.map((one) => kimiCodeStore({ home: kimiCodeHome, ...one }))];
  // opencode's plugins know no other region.
  const opencode = regions.some(({ region }) => region === USUAL_REGION)
    ? [
        opencodeKimiFullStore({ data: dataHome }),
        opencodeKimiAuthStore({ folder: join(home, ".opencode-kimi-auth") }),
      ]
    : [];
  const forLogins: readonly LoginStore[] = [...kimiCli, ...kimiCode];
  return {
    all: [...forLogins, ...opencode],
    forLogin: (region) => forLogins.find((store) => store.region === region) ?? forLogins[0] ?? firstKimiCode,
  };
}
