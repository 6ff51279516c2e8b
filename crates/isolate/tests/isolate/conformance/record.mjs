// Records what workerd answers to the cases of this folder: `node record.mjs FOLDER`, where FOLDER/node_modules has
// `workerd` from npm. Writes workerd.json beside this file.

import { spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const DATE = "2026-10-06";
const here = dirname(fileURLToPath(import.meta.url));
const installed = resolve(process.argv[2] ?? ".", "node_modules");
const { version } = JSON.parse(readFileSync(join(installed, "workerd/package.json"), "utf8"));
const folder = mkdtempSync(join(tmpdir(), "conformance-"));

/** What workerd answers to the cases of a file, under flags. */
async function answers(file, flags) {
  const config = `
    using Workerd = import "/workerd/workerd.capnp";
    const config :Workerd.Config = (
      services = [
        (name = "main", worker = (
          modules = [
            (name = "runner.js", esModule = embed "runner.js"),
            (name = "cases.js", esModule = embed "cases.js"),
          ],
          compatibilityDate = "${DATE}",
          compatibilityFlags = ${JSON.stringify(flags)},
          cacheApiOutbound = "cache",
        )),
        (name = "cache", worker = (
          modules = [(name = "cache.js", esModule = embed "cache.js")],
          compatibilityDate = "${DATE}",
        )),
      ],
      sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
    );`;
  writeFileSync(join(folder, "config.capnp"), config);
  copyFileSync(join(here, "runner.js"), join(folder, "runner.js"));
  copyFileSync(join(here, file), join(folder, "cases.js"));
  // workerd leaves the storage of its cache to a service; this one keeps nothing, so the cache's cases are Skep's own.
  writeFileSync(join(folder, "cache.js"), `export default { fetch: () => new Response(null, { status: 504 }) };`);
  const server = spawn(join(installed, ".bin/workerd"), ["serve", "--control-fd=3", join(folder, "config.capnp")], {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  try {
    const port = await new Promise((found, failed) => {
      server.stdio[3].on("data", (line) => {
        const message = JSON.parse(line);
        if (message.event === "listen") found(message.port);
      });
      server.on("exit", () => failed(new Error("workerd ended before it listened")));
    });
    return await (await fetch(`http://127.0.0.1:${port}/path?query`)).json();
  } finally {
    server.kill("SIGKILL");
  }
}

const NOT_CASES = ["runner.js", "shape.js"];
const recorded = { workerd: version, date: DATE, answers: {} };
for (const file of readdirSync(here).filter((name) => name.endsWith(".js") && !NOT_CASES.includes(name)).sort()) {
  recorded.answers[file.replace(".js", "")] = await answers(file, ["no_nodejs_compat", "no_nodejs_compat_v2"]);
}
recorded.shape = await answers("shape.js", ["no_nodejs_compat", "no_nodejs_compat_v2"]);
recorded.globalsWithNode = (await answers("shape.js", ["nodejs_compat"])).globals;
writeFileSync(join(here, "workerd.json"), `${JSON.stringify(recorded, null, 1)}\n`);
rmSync(folder, { recursive: true });
