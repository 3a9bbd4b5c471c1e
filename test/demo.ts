/**
 * The main job without an account: a simulated Kimi service on loopback, a real device login, and the real pi with
 * this extension in a throw-away home. `npm run demo [-- --interactive | -- "your prompt"]`.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CLIENT_ID } from "../extensions/configuration.ts";
import { kimiCliStore } from "../extensions/credentials/kimi-cli.ts";
import { createIdentity } from "../extensions/identity.ts";
import { login } from "../extensions/login.ts";
import { systemClock } from "../extensions/oauth/clock.ts";
import { isJsonObject } from "../extensions/oauth/http.ts";
import { type KimiService, startKimiService } from "./support/kimi-service/index.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const arguments_ = process.argv.slice(2);
const interactive = arguments_.includes("--interactive");
const prompt =
  arguments_.filter((argument) => argument !== "--interactive").join(" ") || "What is a rotating token?";

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
  say(`A simulated Kimi service listens on ${service.url}; the home is ${home}.`);
  await logIn();
  const status = interactive ? await runInteractive() : await runOnce();
  say("\nFiles in the home:");
  for (const file of listFiles(home)) say(`  ${file}`);
  say("What travelled:");
  for (const line of summarize(service)) say(`  ${line}`);
  return status;
}

async function logIn(): Promise<void> {
  service.deviceResponse({ interval: 0.2 });
  service.scriptDevice(["pending", "pending", "approved"]);
  const share = join(home, ".kimi");
  const store = kimiCliStore({ share });
  const identity = createIdentity(share, { extension: "demo", pi: "demo" });
  const server = { host: service.oauthHost, clientId: CLIENT_ID, fetch, identity: () => identity(true) };
  await login(
    { server, clock: systemClock, save: store.save, savePath: store.path },
    {
      onAuth: ({ url, instructions }) =>
        say(`Log in at ${url} (${instructions}): the service says yes by itself.`),
      onPrompt: async () => "",
    },
  );
  say("Logged in, as kimi-cli would be.\n");
}

function piArguments(...rest: string[]): string[] {
  const cli = join(root, "node_modules", "@mariozechner", "pi-coding-agent", "dist", "cli.js");
  return [cli, "-e", root, "--provider", "kimi-coder", "--model", "kimi-for-coding", ...rest];
}

function environment(): NodeJS.ProcessEnv {
  const { PATH, TERM, LANG, COLORTERM } = process.env;
  return { PATH, TERM, LANG, COLORTERM, HOME: home, PI_OFFLINE: "1", ...service.environment };
}

function runInteractive(): Promise<number> {
  const pi = spawn(process.execPath, piArguments(), { cwd: home, env: environment(), stdio: "inherit" });
  return new Promise((resolve) => pi.on("close", (code) => resolve(code ?? 1)));
}

/** Runs pi once in JSON mode and prints thinking and answer as they arrive. */
async function runOnce(): Promise<number> {
  say(`$ pi --provider kimi-coder --model kimi-for-coding --thinking high -p ${JSON.stringify(prompt)}`);
  const pi = spawn(process.execPath, piArguments("--thinking", "high", "--mode", "json", prompt), {
    cwd: home,
    env: environment(),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = new Promise<number>((resolve) => pi.on("close", (code) => resolve(code ?? 1)));
  for await (const line of createInterface({ input: pi.stdout })) printDelta(JSON.parse(line));
  return closed;
}

function printDelta(event: unknown): void {
  const update =
    isJsonObject(event) && event.type === "message_update" ? event.assistantMessageEvent : undefined;
  if (!isJsonObject(update)) return;
  if (update.type === "thinking_start") process.stdout.write("[thinking] ");
  if (update.type === "text_start") process.stdout.write("\n[answer] ");
  if (update.type === "thinking_delta" || update.type === "text_delta")
    process.stdout.write(String(update.delta));
  if (update.type === "thinking_end" || update.type === "text_end") process.stdout.write("\n");
}

function listFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => /\.kimi|auth\.json|kimi-coder\.json/.test(path))
    .map((path) => `${relative(directory, path)} (${(statSync(path).mode & 0o777).toString(8)})`)
    .sort();
}

function summarize({ log }: KimiService): string[] {
  return log.map(({ kind, method, path, status }) => `${method} ${path} -> ${status} (${kind})`);
}

function say(text: string): void {
  console.log(text);
}
