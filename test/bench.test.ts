/** `npm run bench`: its table is whole, and what must hold on any machine holds. The times are for people to read. */
import { expect, onTestFinished, test } from "vitest";
import { createHome } from "./support/home.ts";
import { hosts, root } from "./support/hosts.ts";
import { run } from "./support/processes.ts";

interface Row {
  readonly part: string;
  readonly what: string;
  readonly figure: string;
  readonly met: string;
}

function parseTable(stdout: string): readonly Row[] {
  return stdout
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .slice(2)
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .map(([, part = "", what = "", , figure = "", met = ""]) => ({ part, what, figure, met }));
}

test("every part of the bench has its figures, and those that are no times meet their targets", async () => {
  const home = createHome();
  onTestFinished(() => home.remove());
  home.write(".npmrc", "update-notifier=false\n");

  const bench = await run("npm", ["run", "bench", "--", "--quick"], {
    cwd: root,
    env: home.env(),
    owner: home,
    timeoutMs: 600_000,
  });

  expect(bench, bench.stderr).toMatchObject({ exitCode: 0 });
  const rows = parseTable(bench.stdout);
  const of = (letter: string) => rows.filter(({ part }) => part === letter);
  expect(rows.filter(({ figure }) => figure === "" || /NaN|undefined|Infinity/.test(figure))).toEqual([]);
  // For each host two commands, beside two others.
  expect(of("a")).toHaveLength(hosts.length * 2 * 2);
  expect(of("a").filter(({ met }) => met !== "")).toHaveLength(4);
  // For each host the request and the whole run, alone, with us, with one module and with empty ones, and a renewal with
  // its locks; the newer pi's own provider beside it.
  expect(of("b")).toHaveLength(hosts.length * 10 + 2);
  expect(of("c")).toMatchObject([{ figure: "0", met: "yes" }]);
  expect(of("d").filter(({ what }) => what.endsWith("refreshes"))).toMatchObject(
    hosts.map(() => ({ figure: "1", met: "yes" })),
  );
  expect(of("d")).toHaveLength(hosts.length * 2);
  expect(of("e")).toHaveLength(18);
  expect(of("f")).toMatchObject(Array.from({ length: 3 }, () => ({ met: "yes" })));
  expect(of("g")).toMatchObject(hosts.map(() => ({ met: "yes" })));
}, 620_000);
