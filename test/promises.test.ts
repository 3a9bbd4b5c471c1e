/** The promises of README.md, one check each, through the real pi. */
import { describe, expect, test } from "vitest";
import { checks } from "./hosts-sweep/checks.ts";
import { promisedHosts } from "./support/counts.ts";
import { binaryHost } from "./support/hosts.ts";
import { createWorld } from "./support/world.ts";

if (binaryHost === undefined)
  console.warn("pi's standalone executable is not in test/hosts: what is tested on it is SKIPPED.");

describe.each(promisedHosts)("pi $name", (host) => {
  test.each(checks)("keeps its promise: $name", async ({ run }) => {
    const world = await createWorld();
    await run({ ...world, host, login: world.logInToKimiCli() });
    expect(world.service.reusedRefreshTokens()).toBe(0);
  });
});
