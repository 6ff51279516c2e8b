//! The isolate's behaviour, driven through its public API.

use skep_test_support::{answered, get, start, test, text, version};

fn main() {
    skep_test_support::main(vec![test("answers", || async {
        let (isolate, recorder) = start(version(
                "export default { async fetch(request, env, ctx) { console.log(request.headers, request.url); return Response.json({ message: 'hi' }) } }",
            ))
            .await
            .unwrap();
        let response = answered(isolate.fetch(get("http://localhost/path?a=b")).await).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(text(response).await, r#"{"message":"hi"}"#);
        println!("{:?}", recorder.finished());
        println!("{:?}", recorder.lines());
    })]);
}
