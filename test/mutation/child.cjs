/**
 * Leaves what instrumented code ran in a process in $COVERED, and ends a process whose mutant loops for ever once the run
 * of the mutant has been given up. Loaded with --require.
 */
const { writeFileSync } = require("node:fs");
const { isMainThread, Worker } = require("node:worker_threads");

const ORPHAN_ENDS = `setInterval(() => process.ppid === ${process.ppid} || process.kill(process.pid, "SIGKILL"), 1000)`;

if (isMainThread) {
  new Worker(ORPHAN_ENDS, { eval: true }).unref();
  const { emit } = process;
  process.emit = (name, ...args) => {
    const heard = emit.call(process, name, ...args);
    const covered = globalThis.__stryker__?.mutantCoverage?.static;
    if (name === "exit" && covered && process.env.COVERED) {
      writeFileSync(`${process.env.COVERED}/${process.pid}`, JSON.stringify(covered));
    }
    return heard;
  };
}
