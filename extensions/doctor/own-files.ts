/** Files besides the logins themselves: those of the locks, kimi-cli's id of this machine, this extension's own. */
import { dirname } from "node:path";
import { type Configuration, ownFiles, requestsFolder } from "../configuration.ts";
import type { CredentialStore, StoreLock } from "../credentials/store.ts";
import { deviceIdPath, readDeviceId } from "../identity.ts";
import { bad, type Check, knownCode, none, ok } from "./check.ts";
import type { FileLook, FileProbes } from "./files.ts";
import { type NamePath, storeName } from "./places.ts";

/**
 * Whether the files can be written that are locked to renew the store's login, and those made that are missing; nothing
 * for locks that are made of nothing. The folder of the login itself has a check of its own.
 */
export async function checkRenewalLock(
  probes: FileProbes,
  called: NamePath,
  store: CredentialStore,
): Promise<readonly Check[]> {
  const name = `${storeName(store)}: lock file`;
  const files = store.locks.flatMap(lockedFile);
  for (const file of files) {
    const folder = dirname(file);
    const around = folder === dirname(store.path) ? undefined : await whereMade(probes, folder);
    const wrong =
      (around && sayUnwritable(await probes.look(around), "folder", called(around))) ??
      sayUnwritable(await probes.look(file), "file", called(file));
    if (wrong) return [bad(name, `${wrong.says}: the login cannot be renewed`, wrong.fix)];
  }
  return files.length === 0 ? [] : [ok(name, "can be written")];
}

function lockedFile(lock: StoreLock): readonly string[] {
  if (lock.kind === "flock") return [lock.path];
  return lock.sentinel === undefined ? [] : [lock.sentinel];
}

/** The folder itself; where it is missing the one in which it will be made. */
async function whereMade(probes: FileProbes, folder: string): Promise<string> {
  return (await probes.look(folder)).state === "absent" ? dirname(folder) : folder;
}

/** Undefined for what can be written, or is not there. */
function sayUnwritable(seen: FileLook, kind: "file" | "folder", shown: string) {
  if (seen.state === "absent" || (seen.state === "there" && seen.kind === kind && seen.writable)) {
    return undefined;
  }
  if (seen.state === "failed") {
    return { says: `${shown} cannot be looked at (${knownCode(seen.code)})`, fix: "make it open to you" };
  }
  return seen.kind === kind
    ? { says: `${shown} cannot be written`, fix: `chmod u+rw${kind === "folder" ? "x" : ""} ${shown}` }
    : { says: `${shown} is no ${kind}`, fix: "move it away" };
}

/** What is lost where one of them cannot be used; nobody hears of it otherwise. */
const LOST = [
  ["memory", "a logout in pi may be undone at the next start"],
  ["models", "each session asks for the list of models anew"],
  ["usage", "the last figures of the quota are forgotten"],
  ["renewals", "/kimi status cannot say who renewed the login"],
] as const;

/** Whether something else stands where this extension keeps its files; each that is wrong gets a line. */
export async function checkOwnFiles(
  probes: FileProbes,
  called: NamePath,
  { agentDir, home }: Pick<Configuration, "agentDir" | "home">,
): Promise<readonly Check[]> {
  const name = "Own files";
  const files = ownFiles(agentDir);
  const requests = requestsFolder(home);
  const checks = await Promise.all([
    ...LOST.map(async ([which, lost]) => {
      const shown = called(files[which]);
      const wrong = sayUnreadable(await probes.look(files[which]), shown);
      return wrong && bad(name, `${wrong.says}: ${lost}`, wrong.fix);
    }),
    probes.look(requests).then((seen) => {
      const wrong = sayUnwritable(seen, "folder", called(requests));
      return wrong && bad(name, `${wrong.says}: requests are sent without taking turns`, wrong.fix);
    }),
  ]);
  const wrong = checks.filter((check) => check !== undefined);
  return wrong.length === 0 ? [ok(name, "nothing stands in their way")] : wrong;
}

/** These are replaced, not written in place, so that only their folder must be writable. */
function sayUnreadable(seen: FileLook, shown: string) {
  return seen.state === "there" && seen.kind === "file" && !seen.readable
    ? { says: `${shown} cannot be read`, fix: `chmod 600 ${shown}` }
    : sayUnwritable(seen.state === "there" ? { ...seen, writable: true } : seen, "file", shown);
}

/** Its mode does not matter: it opens nothing. */
export async function checkDeviceId(
  probes: FileProbes,
  called: NamePath,
  { kimiShare, identity }: Pick<Configuration, "kimiShare" | "identity">,
): Promise<readonly Check[]> {
  if (identity === "pi") return [];
  const name = "Device id";
  const path = deviceIdPath(kimiShare);
  const shown = called(path);
  if ((await probes.look(path)).state === "absent") return [none(name, `${shown} is not there yet`)];
  if ((await readDeviceId(kimiShare, false, "")) !== "") return [ok(name, `${shown} can be read`)];
  const says = `${shown} holds no id that can be read: each pi makes up one of its own`;
  return [bad(name, says, "make it readable for you, or move it away")];
}
