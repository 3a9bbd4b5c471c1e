/**
 * Loaded into a program by `NODE_OPTIONS=--require`: a disk that takes 400 ms to say that pi's lock on auth.json has been
 * made. Only the asynchronous way: pi's own.
 */
const fs = require("node:fs");

const { mkdir } = fs;

fs.mkdir = (path, ...rest) => {
  const done = rest.pop();
  const isPiLock = String(path).endsWith("auth.json.lock");
  mkdir(path, ...rest, (...outcome) => (isPiLock ? setTimeout(done, 400, ...outcome) : done(...outcome)));
};
