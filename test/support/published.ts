/** Where users install from, on loopback: a registry that has this repository packed, and the repository itself. */
import { type GitRepository, startGitRepository } from "./git-repository.ts";
import { createHome, type Home } from "./home.ts";
import { type Registry, startRegistry } from "./registry.ts";

export interface Published {
  /** Of those who publish. */
  readonly home: Home;
  readonly registry: Registry;
  readonly repository: GitRepository;
  close(): Promise<void>;
}

export async function startPublished(): Promise<Published> {
  const home = createHome();
  const registry = await startRegistry(home);
  const repository = await startGitRepository(home, registry.packages);
  return {
    home,
    registry,
    repository,
    async close() {
      await registry.close();
      await repository.close();
      home.remove();
    },
  };
}
