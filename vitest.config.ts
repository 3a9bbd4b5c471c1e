import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/no-secrets.ts"],
    testTimeout: 90_000,
    hookTimeout: 60_000,
  },
});
