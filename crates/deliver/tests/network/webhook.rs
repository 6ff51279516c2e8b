//! Webhooks: what is on the wire, and that the signature is what another program would compute.

use std::time::SystemTime;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::server::{Answer, Request, Server};
use crate::{Running, alert, limits, usage};

/// HMAC (RFC 2104) of its definition, from SHA-256 alone.
fn hmac_of_its_definition(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = key.to_vec();
    block.resize(64, 0);
    let pad = |byte: u8| block.iter().map(|key| key ^ byte).collect::<Vec<u8>>();
    let hash = |first: &[u8], then: &[u8]| digest::digest(&digest::SHA256, &[first, then].concat()).as_ref().to_vec();
    hash(&pad(0x5c), &hash(&pad(0x36), text))
}

fn expected_signature(request: &Request, key: &[u8]) -> String {
    let header = |name| request.header(name).expect(name);
    let text = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), request.body);
    format!("v1,{}", STANDARD.encode(hmac_of_its_definition(key, text.as_bytes())))
}

pub(crate) fn config(url: &str) -> String {
    format!(
        "[ops]\ntype = \"webhook\"\nurl = \"{url}/hook/T0K3N?a=b\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n"
    )
}

#[tokio::test]
async fn an_alert_is_posted_and_signed() {
    let server = Server::start(|_, _| Answer::status(204)).await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &config(&server.url()));
    running.outbox.put(alert("ops", "a")).unwrap();
    running.outbox.put(usage("ops", "u")).unwrap();
    assert!(running.done().await.is_empty());
    let requests = server.requests();
    let [first, second] = &requests[..] else { panic!("two requests: {requests:?}") };
    assert_eq!(first.line, "POST /hook/T0K3N?a=b HTTP/1.1");
    assert_eq!(first.header("content-type"), Some("application/json"));
    let expected = concat!(
        r#"{"data":{"account":"acme","key":"a","kind":"quota.exceeded","severity":"critical","#,
        r#""text":"More requests than the plan has.\nThey are refused until midnight.","title":"A quota is exceeded","#,
        r#""worker":"shop"},"timestamp":"2026-11-26T21:39:47.123Z","type":"alert.quota.exceeded"}"#
    );
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    assert_eq!(parsed(&first.body), parsed(expected));
    let usage = parsed(&second.body);
    assert_eq!((&usage["type"], &usage["data"]["value"]), (&"usage.reported".into(), &25.into()));
    assert_eq!(second.header("webhook-id"), Some("u"));
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    for request in &requests {
        assert_eq!(request.header("webhook-signature").unwrap(), expected_signature(request, &key));
        let timestamp: u64 = request.header("webhook-timestamp").unwrap().parse().unwrap();
        assert!(now.abs_diff(timestamp) < 60, "{timestamp}");
    }
    assert!(running.told().is_empty(), "{:?}", running.told());
}

#[test]
fn the_definition_of_hmac_is_that_of_the_library() {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
    assert_eq!(hmac::sign(&key, b"text").as_ref(), hmac_of_its_definition(b"key", b"text"));
}
