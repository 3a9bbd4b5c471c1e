import { writeFileAtomically, writeFileAtomicallySync } from "../../../extensions/credentials/file.ts";

/** Both ways to replace a file, by name. */
export const WRITERS = [
  ["writeFileAtomically", writeFileAtomically],
  [
    "writeFileAtomicallySync",
    async (...args: Parameters<typeof writeFileAtomicallySync>) => writeFileAtomicallySync(...args),
  ],
] as const;
