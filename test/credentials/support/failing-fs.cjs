/** Makes the next call of one file-system function fail: `globalThis.fault = { call, code }`. Loaded with --require. */
const fs = require("node:fs");
const { syncBuiltinESMExports } = require("node:module");

const CALLS = ["open", "write", "fsync", "close", "chown", "chmod", "rename", "realpath", "stat"];
function struck(name) {
  if (globalThis.fault?.call !== name) return undefined;
  const { code } = globalThis.fault;
  globalThis.fault = undefined;
  return Object.assign(new Error(code), { code });
}
for (const call of CALLS) {
  const real = fs[call];
  fs[call] = (...args) => {
    const error = struck(call);
    if (!error) return real.apply(fs, args);
    if (call === "close") real.call(fs, args[0], () => {});
    process.nextTick(args.at(-1), error);
  };
}
for (const call of [
  ...CALLS.map((name) => `${name}Sync`),
  "writeFileSync",
  "mkdirSync",
  "lstatSync",
  "readlinkSync",
]) {
  const real = fs[call];
  fs[call] = (...args) => {
    const error = struck(call);
    if (!error) return real.apply(fs, args);
    if (call === "closeSync") real.apply(fs, args);
    throw error;
  };
}
syncBuiltinESMExports();
