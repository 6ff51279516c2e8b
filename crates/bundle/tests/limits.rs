//! A version that is bigger than the limit.

mod support;

use skep_bundle::{Mode, Project};
use support::options;

#[test]
fn a_version_may_have_64_mebibytes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let script = "import data from './data.bin'; export default { fetch: () => new Response(data) };";
    std::fs::write(root.join("index.js"), script).unwrap();
    let build = |mebibytes: u64| {
        let file = std::fs::File::create(root.join("data.bin")).unwrap();
        file.set_len(mebibytes * 1024 * 1024).unwrap();
        let mut options = options(root, Mode::Dev);
        options.main = Some("index.js".into());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async { Project::open(options).unwrap().build().await })
    };
    assert!(build(63).is_ok());
    let message = build(64).unwrap_err().to_string();
    assert_eq!(
        message,
        "error: Worker exceeded script size limit: 64.0 MiB used, 64.0 MiB allowed\n  = minify it, or move data out of it"
    );
}
