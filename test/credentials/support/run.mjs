/**
 * Runs a TypeScript module in a process of its own: `node run.mjs <module> <argument>…` (Node 20 cannot by itself). It is
 * translated once for all processes that share JITI_CACHE.
 */
import { createJiti } from "jiti";

const fsCache = process.env.JITI_CACHE ?? false;
await createJiti(import.meta.url, { fsCache }).import(process.argv[2]);
