//! Alerts as e-mail: one message of plain text, by SMTP (RFC 5321), over TLS unless the server is this machine.
//!
//! Each recipient is a delivery of its own, so that one whom the server refuses keeps the message from nobody else. Who has got a message is
//! remembered until it is done with, so that the next try leaves them alone; every try has the same `Message-ID`.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0, To};
use lettre::message::{Mailbox, Mailboxes};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls as SmtpTls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use skep_worker::Secret;
use url::Host;

use super::{Problem, is_loopback};
use crate::http_post::readable;
use crate::senders::Verdict;
use crate::{Alert, Email, Limits, Tls};

/// The longest subject, in characters.
const LONGEST_SUBJECT: usize = 200;
/// What servers answer when they do not let somebody in: RFC 4954, section 6.
const NOT_LET_IN: [u16; 4] = [530, 534, 535, 538];

pub(crate) struct EmailSender {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    host: String,
    /// The password, and how it is sent: a server may repeat what it did not understand.
    secrets: Vec<Secret>,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// Of the message that is being sent: its id, and who is done with.
    done: Mutex<(String, BTreeSet<Address>)>,
}

impl EmailSender {
    pub(crate) fn new(email: &Email, limits: &Limits) -> Result<Self, Problem> {
        let mailbox = |key, text: &str| {
            let advice = "write it as in \"skep@example.com\" or \"Skep <skep@example.com>\"";
            let parsed = text.parse::<Mailbox>();
            parsed.map_err(|error| Problem::new(key, format!("{text:?} is no address ({error}): {advice}")))
        };
        let from = mailbox("from", &email.from)?;
        let to = email.to.iter().map(|to| mailbox("to", to)).collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err(Problem::new("to", "it is empty: write who gets the alerts"));
        }
        let host = Host::parse(&email.host).map_err(|_| {
            Problem::new("host", "it is no name or address of a server: write it without a scheme and without a port")
        })?;
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.host)
            .timeout(Some(limits.timeout))
            .hello_name(ClientId::Domain(from.email.domain().to_owned()))
            .tls(tls(email, &host)?);
        transport = transport.port(email.port.unwrap_or(match email.tls {
            Tls::Starttls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        }));
        transport = match (&email.user, &email.password) {
            (Some(user), Some(password)) => {
                transport.credentials(Credentials::new(user.clone(), password.reveal().to_owned()))
            }
            (None, None) => transport,
            (Some(_), None) => return Err(Problem::new("password", "there is a user without one: add it")),
            (None, Some(_)) => return Err(Problem::new("user", "there is a password without one: add it")),
        };
        let (host, secrets) = (email.host.clone(), secrets(email));
        Ok(Self { transport: transport.build(), host, secrets, from, to, done: Mutex::default() })
    }

    pub(crate) async fn send(&self, alert: &Alert, id: &str) -> Verdict {
        let message = match self.message(alert, id) {
            Ok(message) => message.formatted(),
            Err(error) => return Verdict::never(format!("it makes no message: {error}")),
        };
        let mut refusals = Vec::new();
        for to in self.to.iter().map(|to| &to.email).filter(|to| !self.is_done(id, to)) {
            let Ok(envelope) = Envelope::new(Some(self.from.email.clone()), vec![to.clone()]) else { continue };
            match self.transport.send_raw(&envelope, &message).await {
                Ok(_) => self.set_done(id, to),
                Err(error) => {
                    let code = error.status().map(u16::from);
                    let said = code.map(|code| format!("{code} ")).unwrap_or_default() + &innermost(&error);
                    let reason = readable(&said, &self.secrets.iter().collect::<Vec<_>>());
                    if !error.is_permanent() || code.is_some_and(|code| NOT_LET_IN.contains(&code)) {
                        return Verdict::later(format!("{} does not take e-mail for {to}: {reason}", self.host));
                    }
                    refusals.push(format!("{} refused e-mail for {to}: {reason}", self.host));
                }
            }
        }
        match refusals.is_empty() {
            true => Verdict::Delivered,
            false => Verdict::never(refusals.join("; ")),
        }
    }

    fn message(&self, alert: &Alert, id: &str) -> Result<Message, lettre::error::Error> {
        let auto_submitted = HeaderName::new_from_ascii_str("Auto-Submitted");
        let to: Mailboxes = self.to.iter().cloned().collect();
        Message::builder()
            .from(self.from.clone())
            .mailbox(To::from(to))
            .subject(subject(alert))
            .date(SystemTime::from(alert.at))
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            // RFC 3834: nobody's absence is answered to it.
            .raw_header(HeaderValue::new(auto_submitted, "auto-generated".to_owned()))
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(text(alert))
    }

    fn is_done(&self, id: &str, to: &Address) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.0 == id && done.1.contains(to)
    }

    fn set_done(&self, id: &str, to: &Address) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.0 != id {
            *done = (id.to_owned(), BTreeSet::new());
        }
        done.1.insert(to.clone());
    }
}

/// The password as it is, and as AUTH PLAIN (RFC 4616) and AUTH LOGIN send it.
fn secrets(email: &Email) -> Vec<Secret> {
    let (Some(user), Some(password)) = (&email.user, &email.password) else { return Vec::new() };
    let plain = STANDARD.encode(format!("\0{user}\0{}", password.reveal()));
    vec![password.clone(), Secret::new(plain), Secret::new(STANDARD.encode(password.reveal()))]
}

fn tls(email: &Email, host: &Host<String>) -> Result<SmtpTls, Problem> {
    let wrap = match email.tls {
        Tls::Starttls => SmtpTls::Required,
        Tls::Implicit => SmtpTls::Wrapper,
        Tls::None => {
            let borrowed = match host {
                Host::Domain(name) => Host::Domain(&**name),
                Host::Ipv4(address) => Host::Ipv4(*address),
                Host::Ipv6(address) => Host::Ipv6(*address),
            };
            return match is_loopback(&borrowed) {
                true => Ok(SmtpTls::None),
                false => {
                    Err(Problem::new("tls", "\"none\" is for this machine only: use \"starttls\" or \"implicit\""))
                }
            };
        }
    };
    let mut parameters = TlsParameters::builder(email.host.clone());
    parameters = match &email.root {
        None => parameters.certificate_store(CertificateStore::WebpkiRoots),
        Some(path) => {
            let pem = fs::read(path).map_err(|error| Problem::new("root", format!("{}: {error}", path.display())))?;
            let certificate = Certificate::from_pem(&pem).map_err(|_| {
                Problem::new("root", format!("{} has no certificate: write one in PEM into it", path.display()))
            })?;
            parameters.certificate_store(CertificateStore::None).add_root_certificate(certificate)
        }
    };
    let parameters = parameters.build_rustls();
    parameters.map(wrap).map_err(|error| Problem::new("tls", format!("it cannot be used: {}", innermost(&error))))
}

/// The subject: one line, whatever the title is.
fn subject(alert: &Alert) -> String {
    let title = alert.title.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let title: String = title.take(LONGEST_SUBJECT).collect();
    format!("[Skep {}] {}", alert.severity.name(), title.trim())
}

/// The body: the text, and what the alert is about. Lines end as RFC 5322 wants them.
fn text(alert: &Alert) -> String {
    let mut lines: Vec<String> = alert.text.lines().map(str::to_owned).collect();
    lines.push(String::new());
    lines.extend(alert.account.iter().map(|account| format!("Account: {account}")));
    lines.extend(alert.worker.iter().map(|worker| format!("Worker: {worker}")));
    lines.push(format!("Kind: {}, {}", alert.kind, alert.severity.name()));
    lines.join("\r\n")
}

/// What lies under an error: the outer ones only say that there is one.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
