/**
 * Which versions of pi this extension works on: installs each, runs the checks, prints a table. Needs the npm registry.
 * `npm run test:hosts [-- <version>…]`
 */
import { createHome } from "../support/home.ts";
import type { PiHost } from "../support/hosts.ts";
import { startKimiService } from "../support/kimi-service/index.ts";
import { type Check, checks } from "./checks.ts";
import { type Installation, install, usualVersions } from "./hosts.ts";

/** From this one on everything must work; what is older is tried to find out. README.md says the same. */
const OLDEST_SUPPORTED = "0.51.0";

const named = process.argv.slice(2);
const versions = named.length > 0 ? named : usualVersions;
const rows: string[] = [];
const reasons: string[] = [];
let broken = 0;
for (const version of versions) {
  const installation = await install(version);
  const marks = await judge(installation);
  const how =
    installation.state === "installed" && installation.by === "tarball" ? " (its tarball alone)" : "";
  rows.push(`| ${version}${how} | ${marks.join(" | ")} |`);
  console.log(`${version}: ${marks.every((mark) => mark === "yes") ? "works" : marks.join(", ")}`);
}
console.log(`\n| pi | ${checks.map(({ name }) => name).join(" | ")} |`);
console.log(`|${" --- |".repeat(checks.length + 1)}`);
for (const row of rows) console.log(row);
for (const reason of reasons) console.log(`\n${reason}`);
if (broken > 0) console.error(`\n${broken} checks failed on versions that are supported.`);
process.exitCode = broken > 0 ? 1 : 0;

async function judge(installation: Installation): Promise<string[]> {
  if (installation.state === "not-installable") {
    reasons.push(`npm cannot install it: ${installation.reason}`);
    return checks.map(() => "?");
  }
  const { host } = installation;
  const marks: string[] = [];
  for (const check of checks) {
    const problem = await tryOut(check, host);
    marks.push(problem === undefined ? "yes" : "no");
    if (problem === undefined) continue;
    reasons.push(`${host.version}, ${check.name}: ${problem}`);
    if (isSupported(host.version)) broken += 1;
  }
  return marks;
}

/** What went wrong; undefined where nothing did. */
async function tryOut(check: Check, host: PiHost): Promise<string | undefined> {
  const service = await startKimiService();
  const home = createHome();
  try {
    const login = service.issueLogin();
    home.writeKimiCli(login);
    await check.run({ host, service, home, login });
    return service.reusedRefreshTokens() > 0 ? "a refresh token was used twice" : undefined;
  } catch (error) {
    return (error instanceof Error ? error.message : String(error)).trim();
  } finally {
    home.remove();
    await service.close();
  }
}

function isSupported(version: string): boolean {
  const rank = (text: string) => text.split(".").reduce((sum, part) => sum * 1000 + Number(part), 0);
  return rank(version) >= rank(OLDEST_SUPPORTED);
}
