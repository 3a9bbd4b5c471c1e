/** This repository as git's own server offers it on loopback: the working tree, committed once. */
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { isJsonObject } from "../../extensions/lib/json.ts";
import type { Home } from "./home.ts";
import { readObject, root } from "./hosts.ts";
import { closing, listen } from "./loopback.ts";
import { run } from "./processes.ts";
import type { Packed } from "./registry.ts";

export interface GitRepository {
  /** What `git clone` takes. */
  readonly url: string;
  /** Commits another version. */
  release(version: string): Promise<void>;
  close(): Promise<void>;
}

/** `packages` are what npm will be given for the lock file's runtime dependencies. */
export async function startGitRepository(home: Home, packages: readonly Packed[]): Promise<GitRepository> {
  const tree = join(home.path, "tmp", "tree");
  const served = join(home.path, "tmp", "git");
  mkdirSync(tree);
  const git = async (cwd: string, ...args: string[]) => {
    const identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    const { stdout, stderr, exitCode } = await run("git", [...identity, ...args], { cwd, env: home.env() });
    if (exitCode !== 0) throw new Error(`git ${args[0]}: ${stderr}`);
    return stdout;
  };
  const names = await git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard");
  for (const name of names.split("\0").filter((one) => one !== "" && existsSync(join(root, one)))) {
    mkdirSync(dirname(join(tree, name)), { recursive: true });
    copyFileSync(join(root, name), join(tree, name));
  }
  takePackedChecksums(join(tree, "package-lock.json"), packages);
  await git(tree, "init", "--quiet");
  await git(tree, "add", "--all");
  await git(tree, "commit", "--quiet", "--message", "The working tree");
  const bare = join(served, "somebody", "pi-kimi-coder.git");
  await git(tree, "clone", "--quiet", "--bare", tree, bare);

  const daemon = ["daemon", "--inetd", "--export-all", `--base-path=${served}`];
  const server = createServer((socket) => {
    const { stdin, stdout } = spawn("git", daemon, { env: home.env(), stdio: ["pipe", "pipe", "ignore"] });
    // Whoever has all of it hangs up.
    stdin.on("error", () => socket.destroy());
    socket.pipe(stdin);
    stdout.pipe(socket);
  });
  const close = closing(server);
  const port = await listen(server);
  return {
    url: `git://127.0.0.1:${port}/somebody/pi-kimi-coder.git`,
    async release(version) {
      const file = join(tree, "package.json");
      writeFileSync(file, JSON.stringify({ ...readObject(file), version }));
      await git(tree, "commit", "--quiet", "--all", "--message", `Release ${version}`);
      await git(tree, "push", "--quiet", bare, "HEAD");
    },
    close,
  };
}

/** The dependencies were packed again from node_modules: the same files, but not the bytes the lock file knows. */
function takePackedChecksums(file: string, packages: readonly Packed[]): void {
  const lock = readObject(file);
  const entries = isJsonObject(lock.packages) ? lock.packages : {};
  const patched = Object.fromEntries(
    Object.entries(entries).map(([path, entry]) => {
      const packed = packages.find(
        ({ name, version }) =>
          path.endsWith(`node_modules/${name}`) && isJsonObject(entry) && entry.version === version,
      );
      return [path, packed && isJsonObject(entry) ? { ...entry, integrity: packed.integrity } : entry];
    }),
  );
  writeFileSync(file, JSON.stringify({ ...lock, packages: patched }));
}
