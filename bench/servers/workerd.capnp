# The Workers of ../workers for workerd: `workerd serve workerd.capnp <worker> --control-fd=1`.

using Workerd = import "/workerd/workerd.capnp";

const hello :Workerd.Config = (
  services = [(name = "worker", worker = (
    modules = [(name = "index.js", esModule = embed "../workers/hello/index.js")],
    compatibilityDate = "2026-10-06",
  ))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "worker")],
);

const stream :Workerd.Config = (
  services = [(name = "worker", worker = (
    modules = [(name = "index.js", esModule = embed "../workers/stream/index.js")],
    compatibilityDate = "2026-10-06",
  ))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "worker")],
);

const parse :Workerd.Config = (
  services = [(name = "worker", worker = (
    modules = [(name = "index.js", esModule = embed "../workers/parse/index.js")],
    compatibilityDate = "2026-10-06",
  ))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "worker")],
);
