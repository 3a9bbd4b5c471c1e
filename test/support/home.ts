/** A throw-away home: the files of pi, kimi-cli and kimi-code in it, and the environment of programs that live there. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { slotName } from "../../extensions/credentials/stores.ts";
import type { JsonObject } from "../../extensions/lib/json.ts";
import { parseObject, readObject, root } from "./hosts.ts";
import type { IssuedToken } from "./kimi-service/types.ts";
import { keepTrace } from "./secrets.ts";

/** The hosts that a kimi-code login belongs to: its slot is named after them. */
export interface Hosts {
  readonly oauthHost: string;
  readonly baseUrl: string;
}

export interface Home {
  readonly path: string;
  /** Where programs are started. */
  readonly work: string;
  readonly agentDir: string;
  /** Of kimi-cli's login. */
  readonly kimiCliPath: string;
  /** Of pi's auth.json. */
  readonly authPath: string;
  kimiCodePath(hosts: Hosts): string;
  /** The whole environment of a program: this home, no network at start, plus `extra`. */
  env(extra?: Readonly<Record<string, string>>): Record<string, string>;
  /** Writes a file (mode 0600) below the home, with the folders it needs. */
  write(path: string, text: string): void;
  read(path: string): string;
  writeKimiCli(token: IssuedToken): void;
  /** kimi-cli's login; undefined where there is none. Throws on what is no JSON object. */
  readKimiCli(): JsonObject | undefined;
  writeKimiCode(token: IssuedToken, hosts: Hosts): void;
  readKimiCode(hosts: Hosts): JsonObject | undefined;
  writeAuth(auth: JsonObject): void;
  /** pi's auth.json; undefined where there is none, and where pi, which writes in place, has just emptied it. */
  readAuth(): JsonObject | undefined;
  /** What a browser was opened on. No browser is: PATH begins with stand-ins for `open` and `xdg-open`. */
  openedUrls(): string[];
  /** Path → octal mode of everything in the home; folders end in a slash, links in `@`. */
  files(): Record<string, string>;
  /** Has something ended before the home is removed: what still runs in it. */
  atRemoval(task: () => void): void;
  /** Ends what runs in it and removes it, after keeping what programs logged there. May be called twice. */
  remove(): void;
}

/**
 * Kept from run to run, as a developer's own would be: jiti's translations (jiti keeps them in `TMPDIR/jiti`) and
 * Node's compiled code, which the newer pi and kimi-code ask for.
 */
const cache = join(root, "node_modules", ".cache", "pi-kimi-coder-tests");

/** What this support puts into a home, not the programs. */
const ours = /^(?:bin|tmp|work)\/|^tmux$/;
/** Where tokens belong. */
const stores = /(?:^|\/)(?:credentials\/|auth\.json|oauth\.json)/;

export function createHome(): Home {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "pi-kimi-")));
  const agentDir = join(path, ".pi", "agent");
  const kimiCliPath = join(path, ".kimi", "credentials", "kimi-code.json");
  const authPath = join(agentDir, "auth.json");
  const work = join(path, "work");
  const opened = join(path, "bin", "opened");
  const endings: (() => void)[] = [];
  for (const folder of ["work", "tmp", "bin"]) mkdirSync(join(path, folder));
  for (const name of ["jiti", "node"]) mkdirSync(join(cache, name), { recursive: true });
  symlinkSync(join(cache, "jiti"), join(path, "tmp", "jiti"));
  for (const name of ["open", "xdg-open"]) {
    writeFileSync(join(path, "bin", name), `#!/bin/sh\nprintf '%s\\n' "$1" >>'${opened}'\n`, { mode: 0o755 });
  }

  const kimiCodePath = (hosts: Hosts) =>
    join(path, ".kimi-code", "credentials", `${slotName(hosts.oauthHost, hosts.baseUrl)}.json`);
  const write = (file: string, text: string, folderMode = 0o755) => {
    mkdirSync(dirname(file), { recursive: true, mode: folderMode });
    writeFileSync(file, text, { mode: 0o600 });
    chmodSync(file, 0o600);
  };

  return {
    path,
    work,
    agentDir,
    kimiCliPath,
    authPath,
    kimiCodePath,
    env: (extra = {}) => ({
      HOME: path,
      PATH: [join(path, "bin"), process.env.PATH ?? "/usr/bin:/bin"].join(delimiter),
      TMPDIR: join(path, "tmp"),
      LANG: "C.UTF-8",
      TERM: "xterm-256color",
      PI_OFFLINE: "1",
      PI_SKIP_VERSION_CHECK: "1",
      PI_TELEMETRY: "0",
      NODE_COMPILE_CACHE: join(cache, "node"),
      ...extra,
    }),
    write: (file, text) => write(join(path, file), text),
    read: (file) => readFileSync(join(path, file), "utf8"),
    writeKimiCli: (token) => write(kimiCliPath, JSON.stringify(token)),
    readKimiCli: () => ifThere(() => readObject(kimiCliPath)),
    writeKimiCode: (token, hosts) =>
      write(
        kimiCodePath(hosts),
        `${JSON.stringify({ ...token, expires_at: Math.floor(token.expires_at) }, null, 2)}\n`,
        0o700,
      ),
    readKimiCode: (hosts) => ifThere(() => readObject(kimiCodePath(hosts))),
    writeAuth: (auth) => write(authPath, JSON.stringify(auth, null, 2)),
    readAuth() {
      const text = ifThere(() => readFileSync(authPath, "utf8")) ?? "";
      return text === "" ? undefined : parseObject(text, authPath);
    },
    openedUrls: () => ifThere(() => readFileSync(opened, "utf8").split("\n").slice(0, -1)) ?? [],
    files: () =>
      Object.fromEntries(
        list(path).flatMap((file) => {
          const stats = ifThere(() => lstatSync(join(path, file.replace(/[/@]$/, ""))));
          return stats === undefined ? [] : [[file, (stats.mode & 0o777).toString(8)]];
        }),
      ),
    atRemoval(task) {
      endings.push(task);
    },
    remove() {
      for (const end of endings) end();
      if (!existsSync(path)) return;
      spawnSync("chmod", ["-R", "u+rwX", path]); // a test may have made something unreadable
      for (const file of list(path)) {
        if (!stores.test(file) && !/[/@]$/.test(file)) keepFile(path, file);
      }
      removeAll(path);
    },
  };
}

/** Again while a process that was just ended still writes into it: rmSync's own retries do not look for new files. */
function removeAll(path: string): void {
  for (let tries = 0; ; tries++) {
    try {
      rmSync(path, { recursive: true, force: true });
      return;
    } catch (error) {
      if (tries === 200) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    }
  }
}

/** Undefined where there is nothing, or a program under way has renamed or removed it since it was listed. */
function ifThere<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Paths relative to the home, sorted; only what programs made. */
function list(home: string): string[] {
  const walk = (folder: string): string[] => {
    const entries = ifThere(() => readdirSync(join(home, folder), { withFileTypes: true })) ?? [];
    return entries.flatMap((entry) => {
      const path = `${folder}${entry.name}`;
      if (entry.isSymbolicLink()) return [`${path}@`];
      return entry.isDirectory() ? [`${path}/`, ...walk(`${path}/`)] : [path];
    });
  };
  return walk("")
    .filter((path) => !ours.test(path))
    .sort();
}

function keepFile(home: string, file: string): void {
  const path = join(home, file);
  const text = ifThere(() => (lstatSync(path).isFile() ? readFileSync(path, "utf8") : ""));
  keepTrace(`file ${file}`, text ?? "");
}
