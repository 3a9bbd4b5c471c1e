/**
 * Reserves room for the next login of kimi-cli in the given share directory, waits for a line if it is to, writes it,
 * and says what came of each. With `save` the room is for a new login.
 */
import { createInterface } from "node:readline";
import { kimiCliStore } from "../../../extensions/credentials/stores.ts";
import { reserveLogin, reserveSuccessor } from "../../../extensions/credentials/successor.ts";
import { SECOND } from "./homes.ts";

// A limit on the size of files is announced by a signal that would otherwise end the process.
process.on("SIGXFSZ", () => {});

const [share = "", what = ""] = process.argv.slice(3);
const store = kimiCliStore(share);
const reservation = what === "save" ? reserveLogin(store) : await reserveSuccessor(store);
if (reservation.state === "failed") {
  console.log(JSON.stringify(reservation));
} else {
  const { successor } = reservation;
  console.log(JSON.stringify({ state: reservation.state }));
  if (what === "wait") for await (const _ of createInterface({ input: process.stdin })) break;
  const written = what === "save" ? successor.save(SECOND) : await successor.write("refresh-1", SECOND);
  console.log(JSON.stringify(written));
  successor.discard();
}
process.exit(0);
