import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createHome, type Home } from "./home.ts";
import { type IssuedToken, type KimiService, startKimiService } from "./kimi-service/index.ts";
import { configureKimiCode, holdKimiCliLock, isKimiCliLocked, runKimiCli, runKimiCode } from "./peers.ts";

let service: KimiService;
let home: Home;

beforeEach(async () => {
  service = await startKimiService();
  home = createHome();
});
afterEach(async () => {
  home.remove();
  await service.close();
});

/** A login whose access token has ended on this machine's clock. */
const expired = (token: IssuedToken) => ({ ...token, expires_at: Date.now() / 1000 - 60 });

describe("the kimi-cli peer", () => {
  it("leaves a login that is not due, and renews one that is", async () => {
    const token = service.issueLogin();
    home.writeKimiCli(token);
    expect(await runKimiCli(home, service)).toMatchObject({ outcome: "not-due" });
    home.writeKimiCli(expired(token));
    expect(await runKimiCli(home, service)).toMatchObject({ outcome: "refreshed", locked: true });
    expect(home.readKimiCli()).toMatchObject({
      refresh_token: service.currentTokens(token.refresh_token)?.refresh_token,
    });
    expect(home.files()).toMatchObject({
      ".kimi/credentials/kimi-code.json": "600",
      ".kimi/credentials/kimi-code.lock": "600",
    });
  });

  it("adopts what another one has renewed: eight at once present the refresh token once", async () => {
    home.writeKimiCli(expired(service.issueLogin()));
    const runs = await Promise.all(Array.from({ length: 8 }, () => runKimiCli(home, service)));
    const outcomes = runs.map(({ outcome }) => outcome);
    expect(outcomes.filter((outcome) => outcome === "refreshed")).toHaveLength(1);
    expect(outcomes.every((outcome) => /refreshed|adopted|not-due/.test(outcome))).toBe(true);
    expect(service.refreshes()).toHaveLength(1);
  });

  it("says when the refresh token was refused", async () => {
    const token = service.issueLogin();
    service.revokeLogin();
    home.writeKimiCli(expired(token));
    expect(await runKimiCli(home, service)).toMatchObject({ outcome: "rejected" });
    expect(home.readKimiCli()).toMatchObject({ refresh_token: token.refresh_token });
  });

  it("holds the lock until it is told to let go", async () => {
    expect(await isKimiCliLocked(home)).toBe(false);
    const release = await holdKimiCliLock(home);
    expect(await isKimiCliLocked(home)).toBe(true);
    await release();
    expect(await isKimiCliLocked(home)).toBe(false);
  });
});

describe("the real kimi-code", () => {
  it("answers with the login it is given", async () => {
    const token = service.issueLogin();
    configureKimiCode(home, service);
    home.writeKimiCode(token, service);
    service.reply({ text: "good morning" });
    const { stdout, stderr, exitCode } = await runKimiCode(home, service, "hello");
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toContain("good morning");
    expect(service.refreshes()).toHaveLength(0);
  });

  it("renews an expired login once, in its own file", async () => {
    const token = service.issueLogin();
    configureKimiCode(home, service);
    home.writeKimiCode(expired(token), service);
    const { exitCode, stderr } = await runKimiCode(home, service, "hello");
    expect(exitCode, stderr).toBe(0);
    expect(service.refreshes()).toHaveLength(1);
    expect(home.readKimiCode(service)).toMatchObject({
      refresh_token: service.currentTokens(token.refresh_token)?.refresh_token,
    });
  });
});
