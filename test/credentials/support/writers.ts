import { replaceFile, replaceFileSync } from "../../../extensions/lib/replace-file.ts";

/** Both ways to replace a file, by name. */
export const WRITERS = [
  ["replaceFile", replaceFile],
  ["replaceFileSync", async (...args: Parameters<typeof replaceFileSync>) => replaceFileSync(...args)],
] as const;
