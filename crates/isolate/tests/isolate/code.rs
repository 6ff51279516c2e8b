//! Compiled code that is kept: a later start uses it, and one that does not fit is no harm.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use libtest_mimic::Trial;
use skep_exchange::Body;
use skep_isolate::{Code, Isolate, Options};
use skep_test_support::{answered, options, request, test, version};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("code::what_was_compiled_is_used_again", what_was_compiled_is_used_again),
        test("code::what_does_not_fit_is_compiled", what_does_not_fit_is_compiled),
        test("code::nothing_is_kept_unless_it_is_asked_for", nothing_is_kept_unless_it_is_asked_for),
    ]
}

const SOURCE: &str =
    "const twice = (n) => 2 * n; export default { fetch() { return new Response(String(twice(21))); } };";

async fn start(code: Code) -> Isolate {
    let (options, _) = options(version(SOURCE));
    Isolate::start(Options { code, ..options }).await.unwrap()
}

async fn answer(isolate: &Isolate) -> Bytes {
    let reply = isolate.fetch(request("GET", "http://localhost/", Body::empty())).await;
    answered(reply).unwrap().into_body().collect(1024).await.unwrap()
}

async fn what_was_compiled_is_used_again() {
    let first = start(Code::Keep).await;
    let code = first.code().clone();
    assert_eq!(code.keys().collect::<Vec<_>>(), ["index.js"]);
    assert_eq!(answer(&first).await, "42");
    let again = start(Code::Use(Arc::new(code))).await;
    assert_eq!(answer(&again).await, "42");
    assert!(again.code().is_empty(), "nothing was compiled anew");
}

async fn what_does_not_fit_is_compiled() {
    for wrong in [Bytes::new(), Bytes::from_static(b"no code at all"), Bytes::from(vec![0; 100_000])] {
        let code = HashMap::from([("index.js".to_owned(), wrong)]);
        let isolate = start(Code::Use(Arc::new(code))).await;
        assert_eq!(answer(&isolate).await, "42");
        assert_eq!(isolate.code().len(), 1, "it was compiled anew");
    }
}

async fn nothing_is_kept_unless_it_is_asked_for() {
    assert!(start(Code::Compile).await.code().is_empty());
}
