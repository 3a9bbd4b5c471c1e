/** What belongs to the process: it does not end before the answer to a refresh that was sent is saved. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { InFlight, inFlight } from "../../extensions/credentials/in-flight.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { startNode } from "./support/processes.ts";
import { deferred } from "./support/world.ts";

async function sent(how = "") {
  const peer = startNode("ending.ts", [how]);
  expect(await peer.says()).toBe("sent");
  return peer;
}

describe("a process with a refresh under way", () => {
  it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "is ended by %s, once the answer is saved",
    async (signal) => {
      const peer = await sent();
      peer.signal(signal);
      peer.tell("the answer");
      expect(await peer.says()).toBe("saved");
      expect(await peer.end()).toEqual({ code: null, signal });
    },
  );

  it("is ended at once by a second signal", async () => {
    const peer = await sent();
    peer.signal("SIGINT");
    peer.signal("SIGTERM");
    expect(["SIGINT", "SIGTERM"]).toContain((await peer.end()).signal);
  });

  it("leaves the end to who listens for the signal, once the answer is saved", async () => {
    const peer = await sent("pi's handler");
    peer.signal("SIGTERM");
    peer.tell("the answer");
    expect([await peer.says(), await peer.says()]).toEqual(["saved", "handled"]);
    expect(await peer.end()).toEqual({ code: 7, signal: null });
  });

  it("keeps a listener that came while it was under way", async () => {
    const peer = await sent("a later handler");
    peer.tell("the answer");
    expect(await peer.says()).toBe("saved");
    peer.signal("SIGTERM");
    expect(await peer.says()).toBe("handled");
    expect(await peer.end()).toEqual({ code: 7, signal: null });
  });

  it("ends with the code that process.exit was given, once the answer is saved, and does nothing else until then", async () => {
    const peer = await sent("exit");
    expect(await peer.says()).toBe("goes no further");
    peer.tell("the answer");
    expect(await peer.says()).toBe("saved");
    expect(await peer.end()).toEqual({ code: 5, signal: null });
  });

  it("does not die of its terminal, which has gone, before the answer is saved", async () => {
    const peer = await sent("a broken terminal");
    expect(await peer.says()).toBe("goes on");
    peer.tell("the answer");
    expect(await peer.says()).toBe("saved");
    expect(await peer.end()).toEqual({ code: 6, signal: null });
  });

  it("dies of a bug as ever", async () => {
    const peer = await sent("an error");
    expect(await peer.end()).toMatchObject({ code: 1 });
  });
});

describe("in the process itself", () => {
  const clock = createFakeClock();
  const { exit } = process;
  const listeners = () =>
    ["SIGINT", "SIGTERM", "SIGHUP", "uncaughtException"].map((e) => process.rawListeners(e));
  let before: unknown;
  beforeEach(() => {
    before = listeners();
  });
  afterEach(() => {
    expect([listeners(), process.exit]).toEqual([before, exit]);
  });

  it("signals and process.exit are held as long as one refresh is under way, and no longer", async () => {
    const flight = new InFlight(clock);
    const [one, two] = [deferred<number>(), deferred<number>()];
    const works = [flight.protect(one.promise), flight.protect(two.promise)];
    expect(process.exit).not.toBe(exit);
    one.resolve(1);
    expect(await works[0]).toBe(1);
    expect(process.exit).not.toBe(exit);
    two.resolve(2);
    expect(await works[1]).toBe(2);
    await new Promise(setImmediate);
  });

  it("they are let go of also where the work fails", async () => {
    const flight = new InFlight(clock);
    await expect(flight.protect(Promise.reject(new Error("failed")))).rejects.toThrow("failed");
    await new Promise(setImmediate);
  });

  it("a listener that is called once is called once", async () => {
    const flight = new InFlight(clock);
    const once = vi.fn();
    process.once("SIGHUP", once);
    await flight.protect(Promise.resolve());
    await new Promise(setImmediate);
    process.emit("SIGHUP", "SIGHUP");
    expect(once).toHaveBeenCalledTimes(1);
  });

  it("an end with nothing under way takes no time; leaving is told, and the next session begins anew", async () => {
    const flight = new InFlight(clock);
    const { leaving } = flight;
    await flight.end();
    expect([leaving.aborted, flight.leaving.aborted, flight.givenUp.aborted]).toEqual([true, false, false]);
  });

  it("an end waits for what was sent, and for what was sent meanwhile, 28 s at the most", async () => {
    const flight = new InFlight(clock);
    const [one, two] = [deferred<void>(), deferred<void>()];
    void flight.protect(one.promise);
    let over = false;
    const end = flight.end(true).then(() => {
      over = true;
    });
    expect(flight.end(true)).toBe(flight.end(true)); // who asks later waits no longer
    void flight.protect(two.promise);
    one.resolve();
    await new Promise(setImmediate);
    expect(over).toBe(false);
    clock.advance(27_999);
    await new Promise(setImmediate);
    expect([over, flight.givenUp.aborted]).toEqual([false, false]);
    clock.advance(1);
    await end;
    expect([flight.givenUp.aborted, flight.leaving.aborted, process.exit]).toEqual([true, true, exit]);
    two.resolve(); // what comes too late changes nothing any more
    await new Promise(setImmediate);
  });

  it("a second end waits for what was sent after the first", async () => {
    const flight = new InFlight(clock);
    const [earlier, later] = [deferred<void>(), deferred<void>()];
    void flight.protect(earlier.promise);
    const first = flight.end(true);
    earlier.resolve();
    await first;
    void flight.protect(later.promise);
    const over = vi.fn();
    const end = flight.end(true).then(over);
    await new Promise(setImmediate);
    expect(over).not.toHaveBeenCalled();
    later.resolve();
    await end;
    await new Promise(setImmediate);
    expect([flight.givenUp.aborted, flight.leaving.aborted]).toEqual([false, false]);
  });

  it("process.exit ends once, with its first code, when the answer is saved; later, at once", async () => {
    const ended = vi.spyOn(process, "exit").mockImplementation((): never => {
      throw new Error("ended");
    });
    const flight = new InFlight(clock);
    const work = deferred<void>();
    const protectedWork = flight.protect(work.promise);
    const held = process.exit;
    for (const code of [3, 4]) expect(() => held(code)).toThrow("as soon as the renewed login is saved");
    const failed = new Promise((resolve) => process.once("unhandledRejection", resolve));
    work.resolve();
    await protectedWork;
    expect(await failed).toMatchObject({ message: "ended" });
    expect(ended.mock.calls).toEqual([[3]]);
    expect(() => held(5)).toThrow("ended");
    expect(ended.mock.calls).toEqual([[3], [5]]);
    vi.restoreAllMocks();
  });

  it.each([
    ["SIGTERM", true, 1],
    ["SIGHUP", true, 0],
    ["SIGTERM", false, 0],
  ] as const)(
    "after %s, at a terminal: %s, it is said %i times why nothing happens",
    async (signal, isTTY, times) => {
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
      const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
      const kill = vi.spyOn(process, "kill").mockReturnValue(true);
      const terminal = process.stderr.isTTY;
      process.stderr.isTTY = isTTY;
      const heard = vi.fn();
      process.once(signal, heard);
      const flight = new InFlight(clock);
      const work = deferred<void>();
      void flight.protect(work.promise);
      process.emit(signal, signal);
      vi.advanceTimersByTime(500);
      expect(write).toHaveBeenCalledTimes(times);
      expect(heard).not.toHaveBeenCalled();
      work.resolve();
      await vi.waitFor(() => expect(heard).toHaveBeenCalledTimes(1));
      expect(kill).not.toHaveBeenCalled();
      process.stderr.isTTY = terminal;
      vi.useRealTimers();
      vi.restoreAllMocks();
    },
  );

  it("the person at a terminal is told why nothing happens; nobody else is, and not where it is quick", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    const terminal = process.stderr.isTTY;
    process.stderr.isTTY = true;
    for (const [isSilent, ms, times] of [
      [true, 1_000, 0],
      [false, 499, 0],
      [false, 500, 1],
      [undefined, 500, 2],
    ] as const) {
      const flight = new InFlight(clock);
      const work = deferred<void>();
      void flight.protect(work.promise);
      const end = flight.end(isSilent);
      vi.advanceTimersByTime(ms);
      expect(write).toHaveBeenCalledTimes(times);
      work.resolve();
      await end;
    }
    process.stderr.isTTY = terminal;
    expect(write.mock.calls[0]?.[0]).toMatch(/^Kimi Coder: waits up to 30 s .*Ctrl\+C ends at once.*\n$/);
    vi.useRealTimers();
    vi.restoreAllMocks();
    await new Promise(setImmediate);
  });

  it("the next instance of this extension finds what is under way", async () => {
    const first = inFlight();
    vi.resetModules();
    const again = await import("../../extensions/credentials/in-flight.ts");
    expect(again.inFlight()).toBe(first);
    expect(first instanceof again.InFlight).toBe(false);
  });
});
