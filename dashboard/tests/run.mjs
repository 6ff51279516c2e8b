// `node tests/run.mjs`: the tests in a browser, against the platform that SKEP_URL and SKEP_TOKEN name. Vite reads the TypeScript.
import { runnerImport } from "vite";

const { module } = await runnerImport(new URL("./main.ts", import.meta.url).pathname);
await module.main();
