/** The real pi in RPC mode: commands in, responses and events out, as pi's docs/rpc.md frames them. */
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";
import type { Home } from "./home.ts";
import type { PiHost } from "./hosts.ts";
import { type PiOptions, parseEvent, piArguments, piSurroundings } from "./pi.ts";
import { type Finished, start } from "./processes.ts";
import { PATIENCE } from "./waiting.ts";

/** A command, a response or an event; every one has a type. */
export type Wanted = (event: JsonObject) => boolean;

export interface RpcPi {
  /** Everything received so far, responses too. */
  readonly events: readonly JsonObject[];
  /** Sends a record and waits for nothing. */
  send(record: JsonObject): void;
  /** Sends a command and waits for its response. Throws where pi says that it failed. */
  request(command: JsonObject, timeoutMs?: number): Promise<JsonObject>;
  /**
   * The first event from number `from` on (default: the beginning) that is wanted, now or later. Throws when the
   * deadline passes or pi ends.
   */
  waitFor(
    wanted: Wanted,
    options?: { readonly from?: number; readonly timeoutMs?: number },
  ): Promise<JsonObject>;
  /**
   * Asks the model and waits until it is done; gives the events since. For text that a command or an extension
   * handles without the model, use `say` or `request({type: "prompt", message})`.
   */
  prompt(message: string, timeoutMs?: number): Promise<readonly JsonObject[]>;
  /** Types a command that an extension answers with a notice; gives that, whatever is greeted beside it. */
  say(command: string): Promise<string>;
  /** Closes stdin and waits until pi has ended. Throws unless it ends in time with status 0. */
  close(timeoutMs?: number): Promise<Finished>;
  kill(signal?: NodeJS.Signals): Promise<Finished>;
}

/** Starts `pi --mode rpc`; `args` are further flags. It is killed after `timeoutMs` at the latest. */
export function startRpc(
  host: PiHost,
  home: Home,
  args: readonly string[],
  options: Omit<PiOptions, "stdin"> = {},
): RpcPi {
  const pi = start(host.program, piArguments(host, ["--mode", "rpc", ...args], options.extension), {
    ...piSurroundings(home, options),
    stdin: "open",
  });
  const events: JsonObject[] = [];
  const waiters = new Set<() => void>();
  const wake = () => {
    for (const waiter of [...waiters]) waiter();
  };
  let ended: string | undefined;
  let rest = "";
  // Records end at LF alone; U+2028 may be inside one.
  pi.child.stdout?.on("data", (text: string) => {
    const lines = `${rest}${text}`.split("\n");
    rest = lines.pop() ?? rest;
    for (const line of lines) {
      try {
        events.push(parseEvent(line));
      } catch {
        ended = `wrote what is no record: ${line.slice(0, 200)}`;
      }
    }
    wake();
  });
  pi.finished.then(
    ({ exitCode, signal }) => {
      ended ??= `ended with ${exitCode ?? signal}`;
      wake();
    },
    (error: unknown) => {
      ended = `did not start: ${String(error)}`;
      wake();
    },
  );

  const fail = (why: string) =>
    new Error(
      `pi ${why}\nlast events: ${JSON.stringify(events.slice(-5)).slice(-2000)}\nstderr: ${pi.output().stderr}`,
    );
  const waitFor: RpcPi["waitFor"] = (wanted, { from = 0, timeoutMs = PATIENCE } = {}) =>
    new Promise((resolve, reject) => {
      let next = from;
      const settle = (end: () => void) => {
        clearTimeout(timer);
        waiters.delete(check);
        end();
      };
      const check = () => {
        for (; next < events.length; next++) {
          const event = events[next];
          if (event !== undefined && wanted(event)) return settle(() => resolve(event));
        }
        const why = ended;
        if (why !== undefined) settle(() => reject(fail(why)));
      };
      const timer = setTimeout(
        () => settle(() => reject(fail(`sent nothing like that in ${timeoutMs} ms`))),
        timeoutMs,
      );
      waiters.add(check);
      check();
    });

  let commands = 0;
  const send = (record: JsonObject) => {
    pi.child.stdin?.write(`${JSON.stringify(record)}\n`);
  };
  const request: RpcPi["request"] = async (command, timeoutMs = PATIENCE) => {
    const id = `command-${++commands}`;
    const from = events.length;
    send({ id, ...command });
    const response = await waitFor((event) => event.type === "response" && event.id === id, {
      from,
      timeoutMs,
    });
    if (response.success !== true) throw fail(`refused ${String(command.type)}: ${String(response.error)}`);
    return isJsonObject(response.data) ? response.data : {};
  };
  const end = async (timeoutMs: number): Promise<Finished> => {
    const timer = setTimeout(() => pi.kill(), timeoutMs);
    const finished = await pi.finished;
    clearTimeout(timer);
    return finished;
  };

  return {
    events,
    send,
    request,
    waitFor,
    async prompt(message, timeoutMs = PATIENCE) {
      const from = events.length;
      await request({ type: "prompt", message }, timeoutMs);
      await waitFor((event) => event.type === host.settled, { from, timeoutMs });
      return events.slice(from);
    },
    async say(command) {
      const from = events.length;
      await request({ type: "prompt", message: command });
      const isGreeting = (text: unknown) => String(text).startsWith("Kimi Coder: using ");
      const said = await waitFor((event) => event.method === "notify" && !isGreeting(event.message), {
        from,
      });
      return String(said.message);
    },
    async close(timeoutMs = PATIENCE) {
      pi.child.stdin?.end();
      const finished = await end(timeoutMs);
      if (finished.exitCode !== 0) throw fail(`ended with ${finished.exitCode ?? finished.signal}`);
      return finished;
    },
    kill(signal = "SIGKILL") {
      pi.kill(signal);
      return end(PATIENCE);
    },
  };
}
