/** What a home and the programs in it leave behind: no process, and no token in what they printed. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { createHome } from "./home.ts";
import { startKimiService } from "./kimi-service/index.ts";
import { start } from "./processes.ts";
import { findSecrets, searchTraces } from "./secrets.ts";

it("takes what still runs in it along when it is removed, unreadable files too", async () => {
  const home = createHome();
  const program = start("sh", ["-c", "sleep 60"], { cwd: home.work, env: home.env(), owner: home });
  mkdirSync(join(home.path, "locked"), { mode: 0o000 });
  home.remove();
  expect(await program.finished).toMatchObject({ signal: "SIGKILL" });
  expect(existsSync(home.path)).toBe(false);
});

it("is searched for every secret of the simulator", async () => {
  const service = await startKimiService();
  service.issueLogin();
  await fetch(`${service.oauthHost}/api/oauth/device_authorization`, {
    method: "POST",
    body: new URLSearchParams({ client_id: "17e5f671-d194-4dfb-9706-5516cb48c098" }),
  });
  const secrets = service.secrets();
  expect(secrets.length).toBeGreaterThanOrEqual(3);
  for (const secret of secrets) expect(findSecrets(`x ${secret}.`)).toEqual([secret]);
  await service.close();
});

it("is said to have left one without repeating it", () => {
  const folder = mkdtempSync(join(tmpdir(), "pi-kimi-"));
  const secret = ["at", "sim", "abcdefghijkl"].join("-");
  const trace = (source: string, text: string) => `${JSON.stringify({ source, text })}\n`;
  writeFileSync(join(folder, "1.jsonl"), trace("stdout", "fine") + trace("stderr", `oh: Bearer ${secret}`));
  const { traces, findings } = searchTraces(folder);
  expect(traces).toBe(2);
  expect(findings).toEqual(["stderr: …oh: Bearer at-sim-…"]);
  rmSync(folder, { recursive: true });
});
