/**
 * Loaded into a program by `NODE_OPTIONS=--require`: its clock goes as many ms before the real one as the file named by
 * `SHIFTED_CLOCK` says, looked at again whenever somebody asks for the time.
 */
const { readFileSync } = require("node:fs");

const file = process.env.SHIFTED_CLOCK;
const RealDate = Date;

function shift() {
  try {
    return Number(readFileSync(file, "utf8")) || 0;
  } catch {
    return 0;
  }
}

globalThis.Date = class ShiftedDate extends RealDate {
  constructor(...values) {
    super(...(values.length === 0 ? [RealDate.now() + shift()] : values));
  }
  static now() {
    return RealDate.now() + shift();
  }
};
