/**
 * Stops before a dead holder's lock is renamed away, says "taking over", and goes on when there is a file $GO_ON.
 * Loaded with --require.
 */
const fs = require("node:fs");
const { syncBuiltinESMExports } = require("node:module");

const never = new Int32Array(new SharedArrayBuffer(4));
function stop(to) {
  if (!to.includes(".stale.")) return;
  fs.writeSync(1, "taking over\n");
  while (!fs.existsSync(process.env.GO_ON)) Atomics.wait(never, 0, 0, 5);
}
for (const [module, name] of [
  [fs, "renameSync"],
  [fs.promises, "rename"],
]) {
  const real = module[name];
  module[name] = (from, to) => {
    stop(to);
    return real.call(module, from, to);
  };
}
syncBuiltinESMExports();
