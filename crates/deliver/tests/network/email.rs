//! E-mail: the conversation with a server, who gets a message when somebody is refused, and TLS or nothing.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use skep_deliver::{Item, Limits, Message, Which};
use tempfile::TempDir;

use crate::smtp::{Protection, SmtpServer};
use crate::{Running, alert, eventually, limits, usage};

const PASSWORD: &str = "hunter2SECRET";

fn config(server: &SmtpServer, tls: &str, to: &str) -> String {
    format!(
        "[mail]\ntype = \"email\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"{tls}\"\nuser = \"skep\"\npassword = \"{PASSWORD}\"\n\
         from = \"Skep <skep@example.com>\"\nto = [{to}]\n",
        server.address.port()
    )
}

/// Commands without greetings and farewells.
fn told(server: &SmtpServer) -> Vec<String> {
    let commands = server.heard().commands.into_iter();
    commands.filter(|command| !command.starts_with("EHLO") && command != "QUIT").collect()
}

#[tokio::test]
async fn a_message_goes_through_a_conversation_with_a_password() {
    let server = SmtpServer::start(Protection::Nothing, |_| None).await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &config(&server, "none", "\"Ops <ops@example.com>\""));
    let mut item = alert("mail", "a");
    let Message::Alert(inside) = &mut item.message else { unreachable!() };
    inside.title = "A quota\r\nBcc: everybody@example.com\r\n is exceeded".to_owned();
    inside.text = "More than the plan has.\n.\n.hidden\nGrüße".to_owned();
    running.outbox.put(item).unwrap();
    assert!(running.done().await.is_empty());
    let commands = server.heard().commands;
    assert_eq!(commands[0], "EHLO example.com");
    // "\0skep\0hunter2SECRET"
    let auth = "AUTH PLAIN AHNrZXAAaHVudGVyMlNFQ1JFVA==";
    assert_eq!(told(&server), [auth, "MAIL FROM:<skep@example.com>", "RCPT TO:<ops@example.com>", "DATA"]);
    let [message] = &server.heard().messages[..] else { panic!("one message") };
    let (head, body) = message.split_once("\r\n\r\n").expect("a head and a body");
    let mut names: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with(' ')).collect();
    names.sort_unstable();
    let id = names.iter().position(|line| line.starts_with("Message-ID: <msg_")).expect("an id");
    assert!(names.remove(id).ends_with("@example.com>"), "{head}");
    let expected = [
        "Auto-Submitted: auto-generated",
        "Content-Transfer-Encoding: quoted-printable",
        "Content-Type: text/plain; charset=utf-8",
        "Date: Thu, 26 Nov 2026 21:39:47 +0000",
        "From: Skep <skep@example.com>",
        "MIME-Version: 1.0",
        "Subject: [Skep critical] A quota  Bcc: everybody@example.com   is exceeded",
        "To: Ops <ops@example.com>",
    ];
    assert_eq!(names, expected, "{head}");
    let expected = "More than the plan has.\r\n..\r\n..hidden\r\nGr=C3=BC=C3=9Fe\r\n\r\nAccount: acme\r\nWorker: shop\r\n\
                    Kind: quota.exceeded, critical\r\n.\r\n";
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_recipient_who_is_refused_keeps_the_message_from_nobody_else() {
    let server = SmtpServer::start(Protection::Nothing, |command| {
        command.starts_with("RCPT TO:<gone@").then_some("550 5.1.1 no such user")
    })
    .await;
    let folder = TempDir::new().unwrap();
    let to = "\"gone@example.com\", \"ops@example.com\"";
    let running = Running::start(folder.path(), limits(), &config(&server, "none", to));
    running.outbox.put(alert("mail", "a")).unwrap();
    assert_eq!(running.done().await[0].failed, 1);
    let reason = &running.outbox.failed(&Which::of("mail"))[0].reason;
    assert_eq!(reason, "127.0.0.1 refused e-mail for gone@example.com: 550 5.1.1 no such user");
    assert_eq!(server.heard().messages.len(), 1);
    // Who got it does not get it again when the other one is tried again.
    running.outbox.retry(&Which::of("mail")).unwrap();
    eventually(|| running.outbox.failed(&Which::of("mail")).len() == 1 && running.waiting("mail") == 0).await;
    eventually(|| told(&server).iter().filter(|command| command.starts_with("RCPT TO:<gone@")).count() == 2).await;
    assert_eq!(server.heard().messages.len(), 1);
}

#[tokio::test]
async fn a_server_that_is_busy_is_tried_again_and_nobody_gets_a_message_twice() {
    let tries = AtomicUsize::new(0);
    let server = SmtpServer::start(Protection::Nothing, move |command| {
        let is_second = command.starts_with("RCPT TO:<b@");
        (is_second && tries.fetch_add(1, Ordering::Relaxed) < 2).then_some("451 4.7.1 greylisted")
    })
    .await;
    let folder = TempDir::new().unwrap();
    let to = "\"a@example.com\", \"b@example.com\"";
    let running = Running::start(folder.path(), limits(), &config(&server, "none", to));
    running.outbox.put(alert("mail", "a")).unwrap();
    assert!(running.done().await.is_empty());
    let recipients: Vec<_> = told(&server).into_iter().filter(|command| command.starts_with("RCPT")).collect();
    let (a, b) = ("RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>");
    assert_eq!(recipients, [a, b, b, b]);
    assert_eq!(server.heard().messages.len(), 2);
    assert!(running.told()[0].contains("does not take e-mail for b@example.com: 451 4.7.1 greylisted"));
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it_and_the_message_waits() {
    let server = SmtpServer::start(Protection::Nothing, |command| {
        command.starts_with("AUTH").then_some("535 5.7.8 AHNrZXAAaHVudGVyMlNFQ1JFVA== is not for hunter2SECRET")
    })
    .await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &config(&server, "none", "\"ops@example.com\""));
    running.outbox.put(alert("mail", "a")).unwrap();
    eventually(|| running.told().len() >= 2).await;
    let told = running.told();
    assert!(told[0].contains("535 5.7.8 [hidden] is not for [hidden]"), "{told:?}");
    assert_eq!(running.waiting("mail"), 1);
    let file = fs::read_to_string(folder.path().join("outbox.log")).unwrap();
    assert!(!format!("{told:?}{file}").contains("SECRET"), "{told:?}");
}

#[tokio::test]
async fn a_message_goes_over_tls_with_an_authority_of_ones_own() {
    for (protection, tls) in [(Protection::Starttls, "starttls"), (Protection::Implicit, "implicit")] {
        let server = SmtpServer::start(protection, |_| None).await;
        let folder = TempDir::new().unwrap();
        let root = folder.path().join("root.pem");
        fs::write(&root, &server.certificate).unwrap();
        let config = config(&server, tls, "\"ops@example.com\"") + &format!("root = \"{}\"\n", root.display());
        let running = Running::start(&folder.path().join("outbox"), limits(), &config);
        running.outbox.put(alert("mail", "a")).unwrap();
        assert!(running.done().await.is_empty());
        let commands = told(&server);
        let safe = commands.iter().position(|command| command == "TLS").expect("TLS");
        assert!(commands[safe + 1].starts_with("AUTH PLAIN") && commands[..safe].len() <= 1, "{commands:?}");
        assert_eq!(server.heard().messages.len(), 1);
    }
}

#[tokio::test]
async fn without_tls_nothing_is_said() {
    for (protection, tls, why) in [
        // Nobody vouches for the server.
        (Protection::Starttls, "starttls", "invalid peer certificate: UnknownIssuer"),
        (Protection::Implicit, "implicit", "invalid peer certificate: UnknownIssuer"),
        // The server, or somebody between, has none.
        (Protection::Nothing, "starttls", "STARTTLS is not supported"),
        (Protection::Nothing, "implicit", ""),
    ] {
        let server = SmtpServer::start(protection, |_| None).await;
        let folder = TempDir::new().unwrap();
        let running = Running::start(folder.path(), limits(), &config(&server, tls, "\"ops@example.com\""));
        running.outbox.put(alert("mail", "a")).unwrap();
        eventually(|| !running.told().is_empty()).await;
        assert!(running.told()[0].contains(why), "{tls}: {:?}", running.told());
        let heard = format!("{:?}", server.heard());
        assert!(!heard.contains("AUTH") && !heard.contains("MAIL"), "{heard}");
        assert_eq!(running.waiting("mail"), 1);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let server = SmtpServer::start(Protection::Nothing, |command| command.starts_with("MAIL").then_some("late")).await;
    let folder = TempDir::new().unwrap();
    let limits = Limits { timeout: Duration::from_millis(300), ..limits() };
    let running = Running::start(folder.path(), limits, &config(&server, "none", "\"ops@example.com\""));
    running.outbox.put(alert("mail", "a")).unwrap();
    eventually(|| running.told().len() >= 2).await;
    assert_eq!(running.waiting("mail"), 1);
}

#[tokio::test]
async fn usage_is_not_sent_by_e_mail() {
    let server = SmtpServer::start(Protection::Nothing, |_| None).await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &config(&server, "none", "\"ops@example.com\""));
    let item: Item = usage("mail", "u");
    running.outbox.put(item).unwrap();
    assert_eq!(running.done().await[0].failed, 1);
    assert!(server.heard().commands.is_empty());
}
