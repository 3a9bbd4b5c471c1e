/**
 * Loaded into a program by `NODE_OPTIONS=--require`: of several readings of models.json that begin at once the last is
 * done first, and the others begin after it, as on a busy machine now and then.
 */
const fs = require("node:fs");
const { syncBuiltinESMExports } = require("node:module");

const { readFile } = fs.promises;
let last;

fs.promises.readFile = async (path, ...rest) => {
  if (!String(path).endsWith("models.json")) return readFile(path, ...rest);
  const own = {};
  own.done = new Promise((resolve) => {
    own.end = resolve;
  });
  last = own;
  await new Promise(setImmediate);
  if (last !== own) await last.done;
  return readFile(path, ...rest).finally(own.end);
};
syncBuiltinESMExports();
