// Records what workerd answers to the cases of this folder: `node record.mjs FOLDER`, where FOLDER/node_modules has
// `workerd` from npm. Writes workerd.json beside this file.

import { spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const DATE = "2026-10-06";
const here = dirname(fileURLToPath(import.meta.url));
const installed = resolve(process.argv[2] ?? ".", "node_modules");
const { version } = JSON.parse(readFileSync(join(installed, "workerd/package.json"), "utf8"));
const folder = mkdtempSync(join(tmpdir(), "rpc-"));
const worker = (file, bindings) =>
  `(modules = [(name = "${file}", esModule = embed "${file}")], compatibilityDate = "${DATE}", bindings = [${bindings}])`;
const bindings = [
  `(name = "T", service = "target")`,
  `(name = "NAMED", service = (name = "target", entrypoint = "Named", props = (json = "{\\"role\\":\\"reader\\"}")))`,
  `(name = "OBJECT", service = (name = "target", entrypoint = "object"))`,
];
const config = `
  using Workerd = import "/workerd/workerd.capnp";
  const config :Workerd.Config = (
    services = [
      (name = "caller", worker = ${worker("cases.js", bindings.join(", "))}),
      (name = "target", worker = ${worker("target.js", "")}),
    ],
    sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "caller")],
  );`;
writeFileSync(join(folder, "config.capnp"), config);
for (const file of ["cases.js", "target.js"]) copyFileSync(join(here, file), join(folder, file));
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
  const answers = await (await fetch(`http://127.0.0.1:${port}/`)).json();
  writeFileSync(join(here, "workerd.json"), `${JSON.stringify({ workerd: version, date: DATE, answers }, null, 1)}\n`);
} finally {
  server.kill("SIGKILL");
  rmSync(folder, { recursive: true });
}
