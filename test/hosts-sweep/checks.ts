/** What must work on a version of pi for it to count as supported: the promises of README.md, one check each. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Home } from "../support/home.ts";
import { type PiHost, readObject } from "../support/hosts.ts";
import type { IssuedToken, KimiService } from "../support/kimi-service/index.ts";
import { assistantMessages, ourModel, printPi, runPi, streamed } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";

/** An empty home with kimi-cli's login, and the service it belongs to. */
export interface Place {
  readonly host: PiHost;
  readonly service: KimiService;
  readonly home: Home;
  readonly login: IssuedToken;
}

export interface Check {
  /** The column of the table. */
  readonly name: string;
  /** Throws where it does not hold. */
  readonly run: (place: Place) => Promise<void>;
}

export const checks: readonly Check[] = [
  {
    name: "models",
    async run({ host, home, service, login }) {
      home.writeKimiCli({ ...login, expires_at: service.now() / 1000 - 60 });
      // Older versions print the list to stderr where stdin is no terminal.
      const { stdout, stderr } = await runPi(host, home, ["--list-models", "kimi-coder"], {
        env: service.environment,
      });
      for (const id of ["kimi-for-coding", "kimi-k2.6", "kimi-k2-thinking"])
        expectIn(`${stdout}${stderr}`, id, "--list-models");
      expectNothing(
        service.log.map(({ kind }) => kind),
        "asked",
      );
    },
  },
  {
    name: "answer",
    async run({ host, home, service }) {
      const { stdout, stderr } = await printPi(host, home, ["hello"], { env: service.environment });
      expectIn(stdout, "You said: hello", `-p hello; ${stderr}`);
      expectNothing(stderr, "on stderr");
      expectAccepted(service);
    },
  },
  {
    name: "tool call",
    async run({ host, home, service }) {
      writeFileSync(join(home.work, "note.txt"), "swordfish");
      service.reply(
        { thinking: "I must read.", toolCalls: [{ name: "read", arguments: { path: "note.txt" } }] },
        { text: "done" },
      );
      const args = ["--thinking", "high", "look"];
      const { stdout, stderr } = await printPi(host, home, args, { env: service.environment });
      expectIn(stdout, "done", `the answer after a tool; ${stderr}`);
      const [, second] = service.chats();
      expectIn(JSON.stringify(second?.body), "swordfish", "the tool's result");
      expectIn(JSON.stringify(second?.body), '"reasoning_content":"I must read."', "earlier reasoning");
      expectAccepted(service);
    },
  },
  {
    name: "thinking",
    async run({ host, home, service }) {
      for (const level of ["high", "off"]) {
        const args = ["--thinking", level, "why?"];
        await printPi(host, home, args, { env: service.environment });
      }
      const sent = service.chats().map(({ body }) => JSON.stringify(body));
      expectIn(sent[0] ?? "", '"thinking":{"type":"enabled"', "--thinking high");
      expectIn(sent[1] ?? "", '"thinking":{"type":"disabled"', "--thinking off");
      expectAccepted(service);
    },
  },
  {
    name: "expired token",
    async run({ host, home, service, login }) {
      service.expireAccessTokens();
      home.writeKimiCli({ ...login, expires_at: service.now() / 1000 - 60 });
      const { stdout, stderr } = await printPi(host, home, ["hello"], { env: service.environment });
      expectIn(stdout, "You said: hello", `with an expired token; ${stderr}`);
      expectSame(service.refreshes().length, 1, "refreshes");
      const current = service.currentTokens(login.refresh_token);
      expectSame(home.readKimiCli()?.refresh_token, current?.refresh_token, "kimi-cli's refresh token");
    },
  },
  {
    name: "401 in a session",
    async run(place) {
      const { service } = place;
      await inSession(place, async (rpc) => {
        await rpc.prompt("one");
        service.expireAccessTokens();
        const events = await rpc.prompt("two");
        expectSame(streamed(events, "text"), "You said: two", "the answer");
        expectNothing(
          assistantMessages(events).filter(({ stopReason }) => stopReason === "error"),
          "errors",
        );
        expectSame(service.refreshes().length, 1, "refreshes");
      });
    },
  },
  {
    name: "new session",
    async run(place) {
      await inSession(place, async (rpc) => {
        await rpc.prompt("one");
        await rpc.request({ type: "new_session" });
        expectSame(streamed(await rpc.prompt("two"), "text"), "You said: two", "the answer");
        place.service.expireAccessTokens();
        expectSame(streamed(await rpc.prompt("three"), "text"), "You said: three", "the answer");
      });
    },
  },
  {
    name: "/compact",
    async run(place) {
      const { service, home } = place;
      home.write(".pi/agent/settings.json", JSON.stringify({ compaction: { keepRecentTokens: 10 } }));
      await inSession(place, async (rpc) => {
        await rpc.prompt(`one ${"word ".repeat(200)}`);
        await rpc.prompt(`two ${"word ".repeat(200)}`);
        service.expireAccessTokens();
        service.reply({ text: "They counted." });
        const { summary } = await rpc.request({ type: "compact" });
        expectIn(String(summary), "They counted.", "the summary");
        expectAccepted(service);
      });
    },
  },
  {
    name: "/kimi status",
    async run({ host, home, service }) {
      const { stdout, stderr } = await runPi(host, home, [...ourModel, "-p", "/kimi status"], {
        env: service.environment,
      });
      expectIn(`${stdout}${stderr}`, "kimi-cli", "/kimi status");
      expectNothing(service.chats(), "sent to the model");
    },
  },
  {
    name: "status file",
    async run({ host, home, service }) {
      const path = join(home.path, "status.json");
      const env = { ...service.environment, KIMI_CODER_STATUS_FILE: path };
      const { stderr } = await printPi(host, home, ["hello"], { env });
      expectNothing(stderr, "on stderr");
      const { state, message } = readObject(path);
      expectSame(`${state}: ${message}`, "completed: You said: hello", "the status file");
    },
  },
  {
    name: "key",
    async run({ host, home, service }) {
      service.apiKeys.add("sk-test-key");
      for (const variable of [true, false]) {
        const { stdout, stderr } = await printPi(
          host,
          home,
          variable ? ["hello"] : ["--api-key", "sk-test-key", "hello"],
          { env: { ...service.environment, ...(variable ? { KIMI_CODER_API_KEY: "sk-test-key" } : {}) } },
        );
        expectIn(stdout, "You said: hello", `${variable ? "KIMI_CODER_API_KEY" : "--api-key"}; ${stderr}`);
      }
      const keys = new Set(service.chats().map(({ accessToken }) => accessToken));
      expectSame([...keys].join(), "sk-test-key", "what was sent");
    },
  },
];

async function inSession(
  { host, home, service }: Place,
  work: (rpc: ReturnType<typeof startRpc>) => Promise<void>,
) {
  const rpc = startRpc(host, home, ourModel, { env: service.environment });
  try {
    await work(rpc);
    await rpc.close();
  } finally {
    await rpc.kill();
  }
}

function expectIn(text: string, part: string, where: string): void {
  if (!text.includes(part)) throw new Error(`no ${JSON.stringify(part)} in ${where}: ${text.slice(-300)}`);
}

function expectSame(found: unknown, wanted: unknown, what: string): void {
  if (found !== wanted) throw new Error(`${what}: ${String(found)} in place of ${String(wanted)}`);
}

/** Besides tokens that the check itself has ended. */
function expectAccepted(service: KimiService): void {
  const refused = service.refused().filter(({ status }) => status !== 401);
  expectNothing(
    refused.map(({ error }) => error),
    "refused",
  );
}

function expectNothing(found: string | readonly unknown[], what: string): void {
  if (found.length > 0) throw new Error(`${what}: ${JSON.stringify(found).slice(0, 500)}`);
}
