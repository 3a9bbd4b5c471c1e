/** The other programs that share a login: the real kimi-code, and a Python peer that follows kimi-cli's protocol. */
import { fileURLToPath } from "node:url";
import { slotName } from "../../extensions/credentials/stores.ts";
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";
import type { Home, Hosts } from "./home.ts";
import { kimiCode } from "./hosts.ts";
import { type Finished, run, start } from "./processes.ts";
import { eventually } from "./waiting.ts";

/** What the peers need to know of the service. */
interface ServiceAddress extends Hosts {
  readonly environment: Readonly<Record<string, string>>;
}

const kimiCliPeer = fileURLToPath(new URL("peers/kimi_cli_peer.py", import.meta.url));

interface KimiCliRun {
  /** `adopted` where another program had renewed the login, `refreshed` where it did itself, and others. */
  readonly outcome: string;
  /** Whether it had kimi-cli's lock; undefined where it did not get that far. */
  readonly locked: boolean | undefined;
}

/** Lets kimi-cli look after its login once: it renews what is due, with `force` in any case. It waits 8 s for its lock. */
export async function runKimiCli(
  home: Home,
  service: ServiceAddress,
  options: {
    readonly force?: boolean;
    /** As whom, where root asks. */
    readonly user?: number;
  } = {},
): Promise<KimiCliRun> {
  const { force = false, user } = options;
  const args = [kimiCliPeer, "refresh", ...(force ? ["--force"] : [])];
  const env = home.env(service.environment);
  // Another user may not get at a developer's own Python.
  const as = ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups", "/usr/bin/python3"];
  const [command = "", ...before] = user === undefined ? ["python3"] : as;
  const finished = await run(command, [...before, ...args], { cwd: home.work, env, owner: home });
  const { outcome, locked } = readLine(finished.stdout, finished.stderr);
  return { outcome: String(outcome), locked: typeof locked === "boolean" ? locked : undefined };
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
export function runKimiCode(home: Home, service: ServiceAddress, prompt: string): Promise<Finished> {
  return run(kimiCode.program, [...kimiCode.script, "-p", prompt], {
    cwd: home.work,
    owner: home,
    env: home.env({
      KIMI_CODE_NO_AUTO_UPDATE: "1",
      KIMI_DISABLE_TELEMETRY: "1",
      ...service.environment,
    }),
  });
}

function readLine(stdout: string, stderr: string): JsonObject {
  const value: unknown = stdout === "" ? undefined : JSON.parse(stdout);
  if (!isJsonObject(value)) throw new Error(`the kimi-cli peer failed: ${stderr}`);
  return value;
}
