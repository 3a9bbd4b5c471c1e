/** What the doctor calls what it must not repeat: files, hosts, logins, and errors. */
import { isAbsolute, join, relative } from "node:path";
import type { Configuration } from "../configuration.ts";
import type { CredentialStore } from "../credentials/store.ts";
import { type Hosts, REGIONS } from "../region.ts";

/** Gives a path its name: the home folder is `~`, a folder that a variable names is the variable. */
export type DisplayPath = (path: string) => string;

/** Of paths in the folders of `configuration`, whose files this extension and the owners of the logins name. */
export function displayPaths(configuration: Configuration): DisplayPath {
  const { kimiShare, kimiCodeHome, dataHome, agentDir, home } = configuration;
  const place = (folder: string, variable: string, usual: string) => ({
    folder,
    name: folder === join(home, usual) ? `~/${usual}` : `$${variable}`,
  });
  const places = [
    place(kimiShare, "KIMI_SHARE_DIR", ".kimi"),
    place(kimiCodeHome, "KIMI_CODE_HOME", ".kimi-code"),
    place(dataHome, "XDG_DATA_HOME", ".local/share"),
    place(agentDir, "PI_CODING_AGENT_DIR", ".pi/agent"),
    { folder: home, name: "~" },
    // One folder may be in another: then the inner one counts, so that no name of a folder is told.
  ].sort((one, other) => other.folder.length - one.folder.length);
  return (path) => {
    for (const { folder, name } of places) {
      const inside = relative(folder, path);
      if (inside === "") return name;
      if (!inside.startsWith("..") && !isAbsolute(inside)) return `${name}/${inside.replaceAll("\\", "/")}`;
    }
    return "a file elsewhere";
  };
}

/** Kimi's own hosts by name, another by the variable that names it. */
export function displayHost(url: string, which: keyof Hosts): string {
  const isKimis = Object.values(REGIONS).some((hosts) => hosts[which] === url);
  if (isKimis) return new URL(url).host;
  return which === "oauthHost" ? "the host in KIMI_CODE_OAUTH_HOST" : "the host in KIMI_CODE_BASE_URL";
}

/** Whose login it is. */
export function storeName({ owner, region }: Pick<CredentialStore, "owner" | "region">): string {
  return region === "kimi.com" ? owner : `${owner} (${region})`;
}

/** As the system and the runtimes write them: one word, which no value of a file, a variable or a server is. */
const CODE = /^(?:[A-Za-z_]|TLSV1){3,45}$/;

export function displayCode(code: string): string {
  return CODE.test(code) ? code : "an error of another kind";
}
