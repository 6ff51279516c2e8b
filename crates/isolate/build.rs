//! Makes the V8 startup snapshot: the web platform, loaded once, ready to be deserialised into each isolate.

use std::path::PathBuf;
use std::{env, fs};

use deno_core::snapshot::{CreateSnapshotOptions, create_snapshot};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let options = CreateSnapshotOptions {
        cargo_manifest_dir: env!("CARGO_MANIFEST_DIR"),
        startup_snapshot: None,
        skip_op_registration: false,
        extensions: skep_web::extensions(),
        extension_transpiler: None,
        with_runtime_cb: None,
    };
    let snapshot = create_snapshot(options, None).expect("the web platform's own JavaScript runs");
    fs::write(out.join("web.snapshot"), &snapshot.output).expect("OUT_DIR can be written");
    println!("cargo:rerun-if-changed=build.rs");
    for file in snapshot.files_loaded_during_snapshot {
        println!("cargo:rerun-if-changed={}", file.display());
    }
}
