/**
 * Makes calls of file-system functions fail: `globalThis.faults = [{ call, code, skip }]`, each once, after `skip` calls
 * that work. Loaded with --require.
 */
const fs = require("node:fs");
const { syncBuiltinESMExports } = require("node:module");

const SYNC =
  "close fchmod fchown fsync ftruncate lstat mkdir open readdir readlink rename unlink write writeFile"
    .split(" ")
    .map((name) => `${name}Sync`);

function struck(name) {
  const fault = globalThis.faults?.find(({ call }) => call === name);
  if (!fault || fault.skip-- > 0) return undefined;
  globalThis.faults.splice(globalThis.faults.indexOf(fault), 1);
  return Object.assign(new Error(fault.code), { code: fault.code });
}

for (const call of SYNC) {
  const real = fs[call];
  fs[call] = (...args) => {
    const error = struck(call);
    if (!error) return real.apply(fs, args);
    if (call === "closeSync") real.apply(fs, args);
    if (call === "writeSync") real(args[0], args[1], args[2], 1, args[4]); // the disk is full in the middle
    throw error;
  };
}
syncBuiltinESMExports();
