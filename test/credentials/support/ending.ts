/**
 * A process with a refresh under way, that ends as its arguments say: says "sent", and "saved" when a line has come and
 * the answer is saved.
 */
import { createInterface } from "node:readline";
import { inFlight } from "../../../extensions/credentials/in-flight.ts";

const how = process.argv[3] ?? "";
const say = (line: string) => process.stdout.write(`${line}\n`);

const lines = createInterface({ input: process.stdin });
if (how === "pi's handler") process.on("SIGTERM", () => leave("handled"));
const answered = new Promise<void>((resolve) => {
  lines.once("line", () => resolve());
});
void inFlight().protect(
  answered.then(async () => {
    await new Promise((saved) => setTimeout(saved, 50));
    say("saved");
    lines.close();
  }),
);
if (how === "a later handler") {
  process.on("SIGTERM", () => leave("handled"));
  setTimeout(() => {}, 20_000); // goes on after the answer
}

function leave(word: string): void {
  say(word);
  process.exit(7);
}

say("sent");
switch (how) {
  case "exit":
    try {
      process.exit(5);
    } finally {
      say("goes no further");
    }
    break;
  case "a broken terminal":
    setTimeout(() => process.exit(6));
    setTimeout(() => {
      setTimeout(() => say("goes on"));
      throw Object.assign(new Error("write EIO"), { code: "EIO" });
    }, 20);
    break;
  case "an error":
    setTimeout(() => {
      throw new Error("a bug");
    });
    break;
}
