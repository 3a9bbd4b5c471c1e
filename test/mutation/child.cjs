/**
 * Leaves what instrumented code ran in a process in $COVERED, and ends a process whose mutant loops for ever once the run
 * of the mutant has been given up. Loaded with --require.
 */
const { writeFileSync } = require("node:fs");
const { isMainThread, Worker } = require("node:worker_threads");

const ORPHAN_ENDS = `setInterval(() => process.ppid === ${process.ppid} || process.kill(process.pid, "SIGKILL"), 1000)`;

if (isMainThread) {
  new Worker(ORPHAN_ENDS, { eval: true }).unref();
  const leave = () => {
    const covered = globalThis.__stryker__?.mutantCoverage?.static;
    if (covered && process.env.COVERED) {
      writeFileSync(`${process.env.COVERED}/${process.pid}`, JSON.stringify(covered));
    }
  };
  const { emit, kill } = process;
  process.emit = (name, ...args) => {
    const heard = emit.call(process, name, ...args);
    if (name === "exit") leave();
    return heard;
  };
  // One that ends itself by a signal, as if nobody had listened for it.
  process.kill = (pid, ...signal) => {
    if (pid === process.pid) leave();
    return kill.call(process, pid, ...signal);
  };
}
