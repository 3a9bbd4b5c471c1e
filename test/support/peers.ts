/** The other programs that share a login: the real kimi-code, and a Python peer that follows kimi-cli's protocol. */
import { fileURLToPath } from "node:url";
import { slotName } from "../../extensions/credentials/kimi-code.ts";
import { isJsonObject, type JsonObject } from "../../extensions/oauth/json-object.ts";
import type { Home, Hosts } from "./home.ts";
import { kimiCode } from "./hosts.ts";
import { type Finished, run, start } from "./processes.ts";
import { eventually } from "./waiting.ts";

/** What the peers need to know of the service. */
export interface ServiceAddress extends Hosts {
  readonly environment: Readonly<Record<string, string>>;
}

const kimiCliPeer = fileURLToPath(new URL("peers/kimi_cli_peer.py", import.meta.url));

export type KimiCliOutcome =
  | "absent"
  | "not-due"
  /** Another program had renewed it. */
  | "adopted"
  | "refreshed"
  /** The token endpoint refused the refresh token that is still in the file. */
  | "rejected"
  | "still-valid"
  | "failed";

export interface KimiCliRun {
  readonly outcome: KimiCliOutcome;
  /** Whether it had kimi-cli's lock; undefined where it did not get that far. */
  readonly locked: boolean | undefined;
  readonly waitedMs: number | undefined;
}

/** Lets kimi-cli look after its login once: it renews what is due, with `force` in any case. */
export async function runKimiCli(
  home: Home,
  service: ServiceAddress,
  options: { readonly force?: boolean; readonly timeoutMs?: number } = {},
): Promise<KimiCliRun> {
  const { force = false, timeoutMs = 60_000 } = options;
  const args = [kimiCliPeer, "refresh", ...(force ? ["--force"] : [])];
  const env = home.env(service.environment);
  const finished = await run("python3", args, { cwd: home.work, env, timeoutMs, owner: home });
  const { outcome, locked, waited_ms } = readLine(finished.stdout, finished.stderr);
  if (!isOutcome(outcome)) throw new Error(`the kimi-cli peer says ${String(outcome)}`);
  return {
    outcome,
    locked: typeof locked === "boolean" ? locked : undefined,
    waitedMs: typeof waited_ms === "number" ? waited_ms : undefined,
  };
}

/** Whether another process holds kimi-cli's lock at this moment. */
export async function isKimiCliLocked(home: Home): Promise<boolean> {
  const finished = await run("python3", [kimiCliPeer, "try"], { cwd: home.work, env: home.env() });
  return readLine(finished.stdout, finished.stderr).held === false;
}

/** Takes kimi-cli's lock in another process. The function that comes back releases it and waits until it is free. */
export async function holdKimiCliLock(home: Home): Promise<() => Promise<void>> {
  const peer = start("python3", [kimiCliPeer, "hold"], {
    cwd: home.work,
    env: home.env(),
    owner: home,
    stdin: "open",
  });
  const line = await eventually(
    () => (peer.output().stdout.includes("\n") ? peer.output().stdout : undefined),
    () => `the kimi-cli peer is silent: ${peer.output().stderr}`,
    10_000,
    5,
  );
  if (readLine(line, "").held !== true) throw new Error("another process holds kimi-cli's lock");
  return async () => {
    peer.child.stdin?.end();
    await peer.finished;
  };
}

/**
 * Makes kimi-code know its provider and model without its own login; the credential is `home.writeKimiCode`'s.
 * The same lines that `kimi login` writes.
 */
export function configureKimiCode(home: Home, service: ServiceAddress): void {
  const { oauthHost, baseUrl } = service;
  home.write(
    ".kimi-code/config.toml",
    `default_model = "kimi-code/kimi-for-coding"

[providers."managed:kimi-code"]
type = "kimi"
api_key = ""
base_url = "${baseUrl}"

[providers."managed:kimi-code".oauth]
storage = "file"
key = "oauth/${slotName(oauthHost, baseUrl)}"
oauth_host = "${oauthHost}"

[models."kimi-code/kimi-for-coding"]
provider = "managed:kimi-code"
model = "kimi-for-coding"
max_context_size = 262144
capabilities = [ "thinking", "image_in", "tool_use" ]
display_name = "Kimi for Coding"
`,
  );
}

/** Asks the real kimi-code one thing in print mode; it renews its login first if that is due. */
export function runKimiCode(
  home: Home,
  service: ServiceAddress,
  prompt: string,
  options: { readonly timeoutMs?: number; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Finished> {
  const { timeoutMs = 60_000 } = options;
  return run(kimiCode.node, [kimiCode.cli, "-p", prompt], {
    cwd: home.work,
    owner: home,
    env: home.env({
      KIMI_CODE_NO_AUTO_UPDATE: "1",
      KIMI_DISABLE_TELEMETRY: "1",
      ...service.environment,
      ...options.env,
    }),
    timeoutMs,
  });
}

function readLine(stdout: string, stderr: string): JsonObject {
  const value: unknown = stdout === "" ? undefined : JSON.parse(stdout);
  if (!isJsonObject(value)) throw new Error(`the kimi-cli peer failed: ${stderr}`);
  return value;
}

const outcomes: readonly string[] = [
  "absent",
  "not-due",
  "adopted",
  "refreshed",
  "rejected",
  "still-valid",
  "failed",
] satisfies KimiCliOutcome[];

function isOutcome(value: unknown): value is KimiCliOutcome {
  return typeof value === "string" && outcomes.includes(value);
}
