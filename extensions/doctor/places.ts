/** Names files without giving away who the user is, or what a variable says. */
import { basename, join, relative } from "node:path";
import type { Configuration } from "../configuration.ts";
import type { CredentialStore } from "../credentials/store.ts";
import { REGIONS } from "../region.ts";

export type Folders = Pick<Configuration, "kimiShare" | "kimiCodeHome" | "dataHome" | "home" | "agentDir">;

/** Gives a path its name: the home folder is `~`, a folder that a variable names is the variable. */
export type NamePath = (path: string) => string;

export function pathNames(folders: Folders): NamePath {
  const { kimiShare, kimiCodeHome, dataHome, agentDir, home } = folders;
  const known = [
    place(kimiShare, "KIMI_SHARE_DIR", join(home, ".kimi"), "~/.kimi"),
    place(kimiCodeHome, "KIMI_CODE_HOME", join(home, ".kimi-code"), "~/.kimi-code"),
    place(dataHome, "XDG_DATA_HOME", join(home, ".local", "share"), "~/.local/share"),
    place(agentDir, "PI_CODING_AGENT_DIR", join(home, ".pi", "agent"), "~/.pi/agent"),
    { folder: join(home, ".opencode-kimi-auth"), name: "~/.opencode-kimi-auth" },
  ];
  return (path) => {
    for (const { folder, name } of known) {
      const inside = relative(folder, path);
      if (inside === "") return name;
      if (OURS.test(inside)) return `${name}/${inside.replaceAll("\\", "/")}`;
    }
    return `a file ${OURS.test(basename(path)) ? basename(path) : "elsewhere"}`;
  };
}

/** The files and folders that are looked at, as this extension and the owners of the logins name them. */
const OURS =
  /^(?:(?:credentials|oauth|opencode)[/\\])?(?:kimi-code(?:-env-[0-9a-f]{16})?(?:\.pi)?(?:\.json)?|auth\.json|oauth\.json|oauth\.pi|settings\.json|credentials|oauth|opencode|kimi-coder(?:-models|-usage|-renewals)?\.json|kimi-coder-requests|device_id|auth\.json\.kimi-for-coding-oauth\.refresh)(?:\.lock)?$/;

function place(folder: string, variable: string, usual: string, name: string) {
  return { folder, name: folder === usual ? name : `$${variable}` };
}

/** A host as it may be shown: Kimi's own by name, another by the variable that names it. */
export function hostName(url: string, which: "oauthHost" | "baseUrl"): string {
  const usual = Object.values(REGIONS).find((hosts) => hosts[which] === url);
  if (usual) return new URL(usual[which]).host;
  return which === "oauthHost" ? "the host in KIMI_CODE_OAUTH_HOST" : "the host in KIMI_CODE_BASE_URL";
}

/** Whose login it is. */
export function storeName({ owner, region }: Pick<CredentialStore, "owner" | "region">): string {
  return region === "kimi.com" ? owner : `${owner} (${region})`;
}
