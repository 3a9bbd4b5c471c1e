/**
 * The main job without an account: a simulated Kimi service on loopback, a real device login, and the real pi with
 * this extension in a throw-away home. `npm run demo [-- --interactive | -- "your prompt"]`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CLIENT_ID } from "../extensions/configuration.ts";
import { kimiCliStore } from "../extensions/credentials/stores.ts";
import { createIdentity } from "../extensions/identity.ts";
import { systemClock } from "../extensions/lib/clock.ts";
import { isJsonObject } from "../extensions/lib/json.ts";
import { logInAnew } from "../extensions/login/login.ts";
import { type KimiService, startKimiService } from "./support/kimi-service/index.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const arguments_ = process.argv.slice(2);
const interactive = arguments_.includes("--interactive");
const prompt =
  arguments_.filter((argument) => argument !== "--interactive").join(" ") || "What is a rotating token?";

// pi hears Ctrl+C as well and ends; what comes after it is for cleaning up.
process.on("SIGINT", () => {});
const home = mkdtempSync(join(tmpdir(), "pi-kimi-coder-demo-"));
const service = await startKimiService();
process.exitCode = 1;
try {
  process.exitCode = await demonstrate();
} finally {
  await service.close();
  rmSync(home, { recursive: true, force: true });
}

async function demonstrate(): Promise<number> {
  say("Simulated: the Kimi service, which repeats what it hears. Real: the login, pi, this extension.");
  say(`The service listens on ${service.url}; the home is ${home}.\n`);
  await logIn();
  keepTranslations();
  const status = interactive ? await runInteractive() : await runOnce();
  say("\nFiles written in the home, with their modes (it is removed now):");
  for (const line of listFiles(home)) say(`  ${line}`);
  say("What travelled:");
  for (const line of summarize(service)) say(`  ${line}`);
  return status;
}

async function logIn(): Promise<void> {
  service.deviceResponse({ interval: 0.2 });
  service.scriptDevice(["pending", "pending", "approved"]);
  const share = join(home, ".kimi");
  const store = kimiCliStore(share);
  const identity = createIdentity(share, { extension: "demo", pi: "demo" }, "kimi-cli");
  const server = { host: service.oauthHost, clientId: CLIENT_ID, fetch, identity: () => identity(true) };
  await logInAnew(
    { server, clock: systemClock, store },
    {
      onAuth: ({ url, instructions }) =>
        say(`Log in at ${url} (${instructions}).\nNo need to: this service says yes by itself.`),
      onPrompt: async () => "",
    },
  );
  say("Logged in, as kimi-cli would be.\n");
}

/** Lets pi keep jiti's translations of the extension from demo to demo, in this repository and not in the temp folder. */
function keepTranslations(): void {
  const cache = join(root, "node_modules", ".cache", "jiti");
  mkdirSync(cache, { recursive: true });
  mkdirSync(join(home, "tmp"));
  symlinkSync(cache, join(home, "tmp", "jiti"), "junction");
}

function startPi(args: readonly string[], stdio: "inherit" | ["ignore", "pipe", "inherit"]): ChildProcess {
  const ours = ["--provider", "kimi-coder", "--model", "kimi-for-coding", ...args];
  say(`$ pi -e . ${ours.map((word) => (/^[\w-]+$/.test(word) ? word : JSON.stringify(word))).join(" ")}\n`);
  const cli = join(root, "node_modules", "@mariozechner", "pi-coding-agent", "dist", "cli.js");
  const { PATH, TERM, LANG, COLORTERM } = process.env;
  const surroundings = {
    PATH,
    TERM,
    LANG,
    COLORTERM,
    HOME: home,
    TMPDIR: join(home, "tmp"),
    PI_OFFLINE: "1",
  };
  const env = { ...surroundings, ...service.environment };
  return spawn(process.execPath, [cli, "-e", root, ...ours], { cwd: home, env, stdio });
}

function ended(pi: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    pi.on("error", reject);
    pi.on("close", (code) => resolve(code ?? 1));
  });
}

function runInteractive(): Promise<number> {
  return ended(startPi([], "inherit"));
}

/** Runs pi once in JSON mode and prints thinking and answer as they arrive. */
async function runOnce(): Promise<number> {
  const pi = startPi(["--thinking", "high", "--mode", "json", prompt], ["ignore", "pipe", "inherit"]);
  const status = ended(pi);
  if (pi.stdout) for await (const line of createInterface({ input: pi.stdout })) printDelta(JSON.parse(line));
  say("");
  return status;
}

function printDelta(event: unknown): void {
  const update =
    isJsonObject(event) && event.type === "message_update" ? event.assistantMessageEvent : undefined;
  if (!isJsonObject(update)) return;
  if (update.type === "thinking_start") process.stdout.write("[thinking] ");
  if (update.type === "text_start") process.stdout.write("\n\n[answer] ");
  if (update.type === "thinking_delta" || update.type === "text_delta")
    process.stdout.write(String(update.delta));
}

function listFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => `${(statSync(path).mode & 0o777).toString(8)} ${relative(directory, path)}`)
    .sort();
}

function summarize({ log }: KimiService): string[] {
  return log.map(({ method, path, status, error, body }) => {
    const thinking =
      isJsonObject(body) && isJsonObject(body.thinking) ? [`thinking ${body.thinking.type}`] : [];
    const notes = [...(error === undefined ? [] : [error]), ...thinking];
    return [status, method, path, ...(notes.length > 0 ? [`(${notes.join(", ")})`] : [])].join(" ");
  });
}

function say(text: string): void {
  console.log(text);
}
