/** As test/credentials/support/run.mjs, but a module is translated once for all processes that share JITI_CACHE. */
import { createJiti } from "jiti";

const fsCache = process.env.JITI_CACHE ?? false;
await createJiti(import.meta.url, { fsCache }).import(process.argv[2]);
