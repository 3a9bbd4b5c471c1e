/**
 * Where the bench runs programs: a Kimi service on loopback, a home with a login, and the moments at which their
 * requests arrive.
 */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { isJsonObject } from "../../extensions/lib/json.ts";
import { createHome, type Home } from "../support/home.ts";
import type { PiHost } from "../support/hosts.ts";
import { type KimiService, type LogEntry, startKimiService } from "../support/kimi-service/index.ts";
import { piArguments } from "../support/pi.ts";
import { run } from "../support/processes.ts";

/** s; so long that nothing is renewed unless the bench says so. */
const LIFETIME = 86_400;
const STATIC_KEY = "sk-bench";
/** How many modules of ours are loaded before a first request; see modules.test.ts. */
export const MODULES = 36;

export interface Scene {
  readonly service: KimiService;
  readonly home: Home;
  /** The directory of an extension that does nothing. */
  readonly emptyExtension: string;
  /**
   * The directory of one that registers a provider with a key, in so many modules, all but one empty; each imports as
   * many of those that follow it.
   */
  bareProvider(modules: number, imports: number): string;
  /** A temporary folder that nothing was cached in. */
  newTemporary(): string;
  close(): Promise<void>;
}

export async function createScene(): Promise<Scene> {
  const service = await startKimiService({ now: exactTime, accessTokenLifetime: LIFETIME });
  const home = createHome();
  service.apiKeys.add(STATIC_KEY);
  home.writeKimiCli(service.issueLogin());
  home.write(".pi/agent/models.json", JSON.stringify({ providers: providersOf(service) }));
  const emptyExtension = writeExtension(home, "empty", "export default function () {}\n");
  const provider = JSON.stringify(providersOf(service).static);
  const entry = `export default (pi) => pi.registerProvider("bare", ${provider});\n`;
  return {
    service,
    home,
    emptyExtension,
    bareProvider(modules, imports) {
      const name = `bare-${modules}-${imports}`;
      const others = Array.from({ length: modules - 1 }, (_, index) => `module-${index + 1}`);
      const importing = (names: readonly string[]) =>
        names.map((other) => `import "./${other}.ts";\n`).join("");
      for (const [index, other] of others.entries()) {
        const text = `${importing(others.slice(index + 1, index + 1 + imports))}export const nothing = undefined;\n`;
        home.write(`${name}/extensions/${other}.ts`, text);
      }
      return writeExtension(home, name, importing(others) + entry);
    },
    newTemporary: () => mkdtempSync(join(home.path, "cold-")),
    async close() {
      home.remove();
      await service.close();
    },
  };
}

/** The directory of an extension with one entry, written into the home. */
function writeExtension(home: Home, name: string, entry: string): string {
  const manifest = { name, type: "module", pi: { extensions: ["./extensions/index.ts"] } };
  home.write(`${name}/package.json`, JSON.stringify(manifest));
  home.write(`${name}/extensions/index.ts`, entry);
  return join(home.path, name);
}

/** ms since the epoch, finer than `Date.now`. */
function exactTime(): number {
  return performance.timeOrigin + performance.now();
}

/** pi's models.json: for the same model with a key in it, which is what pi does alone; and where the newer pi's own provider asks. */
function providersOf({ baseUrl }: KimiService) {
  const model = {
    id: "kimi-for-coding",
    name: "Kimi",
    reasoning: false,
    input: ["text"],
    cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
    contextWindow: 262_144,
    maxTokens: 32_768,
    compat: { supportsStore: false, supportsDeveloperRole: false, supportsStrictMode: false },
  };
  const headers = { "User-Agent": "pi/bench" };
  const provider = { baseUrl, api: "openai-completions", apiKey: STATIC_KEY, headers, models: [model] };
  return { static: provider, "kimi-coding": { baseUrl } };
}

export const staticModel: readonly string[] = ["--provider", "static", "--model", "kimi-for-coding"];

export const bareModel: readonly string[] = ["--provider", "bare", "--model", "kimi-for-coding"];

/** Of the newer pi's own provider. */
export const builtInModel: readonly string[] = ["--provider", "kimi-coding", "--model", "kimi-for-coding"];

/** pi's own provider gets a new login, for it renews none that was rejected. */
export function logInToBuiltIn({ service, home }: Scene): void {
  const { refresh_token: refresh, access_token: access, expires_at } = service.issueLogin();
  const entry = { type: "oauth", refresh, access, expires: expires_at * 1000 };
  home.writeAuth({ ...home.readAuth(), "kimi-coding": entry });
}

/** The login's access token has ended: in kimi-cli's file, in pi's copy of it, and for the service. */
export function expireLogin({ service, home }: Scene): void {
  service.expireAccessTokens();
  const login = home.readKimiCli();
  if (!login) throw new Error("the home has no login");
  const ended = service.now() - 60_000;
  home.write(".kimi/credentials/kimi-code.json", JSON.stringify({ ...login, expires_at: ended / 1000 }));
  const auth = home.readAuth();
  const entry = auth?.["kimi-coder"];
  if (isJsonObject(entry)) home.writeAuth({ ...auth, "kimi-coder": { ...entry, expires: ended } });
}

export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** pi with one extension, or with none. */
export function piProgram(
  host: PiHost,
  extension: string | undefined,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Program {
  const flags = extension === undefined ? ["--no-extensions", ...args] : args;
  return { command: host.program, args: piArguments(host, flags, extension ?? false), env };
}

export interface Run {
  /** The wall time, ms. */
  readonly wall: number;
  /** Of the first chat request: from just before the process is started until it is at the service, ms. */
  readonly chat: number;
  /** What the service was asked before it. */
  readonly before: readonly LogEntry[];
}

/** Runs a program in the home, with the variables that lead to the service. Throws unless it ends well. */
export async function runProgram({ service, home }: Scene, program: Program): Promise<Run> {
  const from = service.log.length;
  const at = exactTime();
  const { exitCode, signal, stderr, ms } = await run(program.command, program.args, {
    cwd: home.work,
    env: home.env({ ...service.environment, ...program.env }),
    owner: home,
  });
  if (exitCode !== 0) {
    const end = `${exitCode ?? signal}: ${stderr.slice(-500)}`;
    throw new Error(`${program.args.join(" ").slice(0, 200)} ended with ${end}`);
  }
  const since = service.log.slice(from);
  const index = since.findIndex(({ kind }) => kind === "chat");
  return { wall: ms, chat: (since[index]?.at ?? Number.NaN) - at, before: since.slice(0, index) };
}
