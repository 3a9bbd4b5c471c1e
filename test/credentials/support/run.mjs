/** Runs a TypeScript module in a process of its own: `node run.mjs <module> <argument>…` (Node 20 cannot by itself). */
import { createJiti } from "jiti";

await createJiti(import.meta.url, { fsCache: false }).import(process.argv[2]);
