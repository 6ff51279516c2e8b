//! Usage events: the exact bytes that Stripe and OpenMeter are sent, and what their answers come to.

use skep_deliver::Which;
use tempfile::TempDir;

use crate::server::{Answer, Request, Server};
use crate::{Running, eventually, limits, usage};

const KEY: &str = "sk_test_51SECRETkey";
const TOKEN: &str = "om_SECRETtoken";

fn stripe(url: &str) -> String {
    format!("[stripe]\ntype = \"stripe\"\nkey = \"{KEY}\"\nurl = \"{url}\"\n")
}

fn open_meter(url: &str) -> String {
    format!("[meter]\ntype = \"openmeter\"\nurl = \"{url}/\"\ntoken = \"{TOKEN}\"\nsource = \"skep-eu\"\n")
}

fn refusal(message: &str) -> String {
    format!(r#"{{"error":{{"message":"{message}","type":"invalid_request_error"}}}}"#)
}

#[tokio::test]
async fn stripe_is_sent_this_form() {
    let server = Server::start(|_, _| Answer::Status(200, &[], r#"{"object":"billing.meter_event"}"#.to_owned())).await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &stripe(&server.url()));
    running.outbox.put(usage("stripe", "6652d780-b1cd-8e5e-894f-4c0805d22af4")).unwrap();
    assert!(running.done().await.is_empty());
    let [request] = &server.requests()[..] else { panic!("one request") };
    assert_eq!(request.line, "POST /v1/billing/meter_events HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer sk_test_51SECRETkey"));
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(request.header("idempotency-key"), Some("6652d780-b1cd-8e5e-894f-4c0805d22af4"));
    // 1795726799 is 2026-11-26 20:59:59 UTC, the last second of the window.
    let expected = "event_name=skep_requests&payload%5Bstripe_customer_id%5D=cus_NciAYcXfLnqBoz&payload%5Bvalue%5D=25&\
                    identifier=6652d780-b1cd-8e5e-894f-4c0805d22af4&timestamp=1795726799";
    assert_eq!(request.body, expected);
}

#[tokio::test]
async fn an_event_that_stripe_has_already_is_delivered() {
    let server = Server::start(|number, _| match number {
        0 => Answer::Status(
            400,
            &[("stripe-should-retry", "false")],
            refusal("An event already exists with identifier u1."),
        ),
        _ => Answer::Status(400, &[], r#"{"error":{"code":"duplicate_meter_event","message":"?"}}"#.to_owned()),
    })
    .await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &stripe(&server.url()));
    running.outbox.put(usage("stripe", "u1")).unwrap();
    running.outbox.put(usage("stripe", "u2")).unwrap();
    assert!(running.done().await.is_empty());
    assert!(running.told().is_empty(), "{:?}", running.told());
}

#[tokio::test]
async fn an_event_that_stripe_never_takes_is_kept_and_told_and_the_next_one_goes() {
    let server = Server::start(|number, _| match number {
        0 => Answer::Status(400, &[], refusal("The timestamp is too far in the past: sk_test_51SECRETkey")),
        _ => Answer::status(200),
    })
    .await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &stripe(&server.url()));
    running.outbox.put(usage("stripe", "old")).unwrap();
    running.outbox.put(usage("stripe", "new")).unwrap();
    assert_eq!(running.done().await[0].failed, 1);
    let [failed] = &running.outbox.failed(&Which::of("stripe"))[..] else { panic!("one failed") };
    let reason = "127.0.0.1 answered 400 Bad Request: The timestamp is too far in the past: [hidden]";
    assert_eq!((&*failed.id, &*failed.reason), ("old", reason));
    let told = format!("a usage event will not reach \"stripe\": {reason}; it is kept as failed (old)");
    assert_eq!(running.told(), [told]);
    // When somebody has corrected what was wrong, it goes with the same key.
    assert_eq!(running.outbox.retry(&Which::of("stripe")).unwrap().failed.len(), 1);
    assert!(running.done().await.is_empty());
    let requests = server.requests();
    let has = |request: &Request, id: &str| request.body.contains(&format!("identifier={id}&"));
    assert!(has(&requests[0], "old") && has(&requests[1], "new") && has(&requests[2], "old"), "{requests:?}");
}

#[tokio::test]
async fn a_failure_that_stripe_repeats_because_of_the_key_is_asked_for_without_it() {
    // The first time it says that it repeats itself, the second time it does not say so.
    for headers in [&[("idempotent-replayed", "true")][..], &[]] {
        let server = Server::start(move |_, request| match request.header("idempotency-key") {
            Some(_) => Answer::Status(500, headers, String::new()),
            None => Answer::status(200),
        })
        .await;
        let folder = TempDir::new().unwrap();
        let running = Running::start(folder.path(), limits(), &stripe(&server.url()));
        running.outbox.put(usage("stripe", "u1")).unwrap();
        assert!(running.done().await.is_empty());
        let requests = server.requests();
        assert_eq!((requests.len(), running.told().is_empty()), (2, !headers.is_empty()));
        assert!(requests.iter().all(|request| request.body.contains("identifier=u1")), "{requests:?}");
    }
}

#[tokio::test]
async fn events_wait_while_a_key_is_wrong() {
    let server = Server::start(|number, _| match number {
        0 => Answer::Status(401, &[], refusal("Invalid API Key provided: sk_test_51SECRETkey")),
        1 => Answer::Status(403, &[], String::new()),
        2 => Answer::status(409),
        3 => Answer::Status(424, &[("stripe-should-retry", "true")], String::new()),
        _ => Answer::status(200),
    })
    .await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &stripe(&server.url()));
    running.outbox.put(usage("stripe", "u1")).unwrap();
    assert!(running.done().await.is_empty());
    let told = running.told();
    assert!(told[0].contains("Invalid API Key provided: [hidden]: look at the key in the configuration"), "{told:?}");
    assert_eq!((server.requests().len(), told.len()), (5, 5), "{told:?}");
    assert!(!format!("{told:?}").contains("SECRET"), "{told:?}");
}

#[tokio::test]
async fn open_meter_is_sent_this_event() {
    let server = Server::start(|_, _| Answer::status(204)).await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &open_meter(&server.url()));
    running.outbox.put(usage("meter", "6652d780-b1cd-8e5e-894f-4c0805d22af4")).unwrap();
    assert!(running.done().await.is_empty());
    let [request] = &server.requests()[..] else { panic!("one request") };
    assert_eq!(request.line, "POST /api/v1/events HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer om_SECRETtoken"));
    assert_eq!(request.header("content-type"), Some("application/cloudevents+json"));
    let expected = concat!(
        r#"{"specversion":"1.0","id":"6652d780-b1cd-8e5e-894f-4c0805d22af4","source":"skep-eu","type":"skep_requests","#,
        r#""subject":"cus_NciAYcXfLnqBoz","time":"2026-11-26T20:59:59Z","datacontenttype":"application/json","#,
        r#""data":{"value":25,"account":"acme","window_start":"2026-11-26T20:00:00Z","window_end":"2026-11-26T21:00:00Z"}}"#
    );
    assert_eq!(request.body, expected);
}

#[tokio::test]
async fn what_open_meter_says_is_told_without_the_token() {
    let server = Server::start(|number, _| match number {
        0 => Answer::Status(401, &[], r#"{"title":"Unauthorized","detail":"no om_SECRETtoken"}"#.to_owned()),
        1 => Answer::Status(400, &[], r#"{"title":"Bad Request","detail":"validation error"}"#.to_owned()),
        _ => Answer::status(202),
    })
    .await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &open_meter(&server.url()));
    running.outbox.put(usage("meter", "u1")).unwrap();
    running.outbox.put(usage("meter", "u2")).unwrap();
    assert_eq!(running.done().await[0].failed, 1);
    eventually(|| running.told().len() == 3).await;
    let told = running.told();
    assert!(told[0].contains("no [hidden]: look at the token"), "{told:?}");
    assert!(told[1].contains("400 Bad Request: validation error; it is kept as failed (u1)"), "{told:?}");
    assert_eq!(told[2], "\"meter\" takes what is sent to it again");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn each_destination_says_what_it_does_not_take() {
    let server = Server::start(|_, _| Answer::status(200)).await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &stripe(&server.url()));
    running.outbox.put(crate::alert("stripe", "a")).unwrap();
    assert_eq!(running.done().await[0].failed, 1);
    assert_eq!(
        running.outbox.failed(&Which::of("stripe"))[0].reason,
        "it takes usage events only, and this is an alert"
    );
    assert!(server.requests().is_empty());
}
