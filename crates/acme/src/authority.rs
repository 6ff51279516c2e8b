//! One certificate authority: the account with it, orders, and what it says about renewal.

use std::sync::Arc;
use std::time::SystemTime;

use instant_acme::{
    Account, AccountCredentials, AuthorizationHandle, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::certificate::chance;
use crate::event::Event;
use crate::failures::Failure;
use crate::folder::{Folder, Kept};
use crate::pending::{Pending, Published};
use crate::settings::{Challenge, Settings};
use crate::transport::{Transport, TransportError};

/// How much longer each look at an order waits than the one before.
const LONGER: f32 = 1.5;
/// The authority does not know the account.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
/// The authority has forgotten a nonce, several times in a row: the client has tried again by itself before.
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
/// The most orders for what can be mended by another one at once.
const MOST_TRIES: u32 = 3;
/// The certificate was replaced by another order already. RFC 9773, section 5.
const REPLACED: &str = "urn:ietf:params:acme:error:alreadyReplaced";

/// A certificate authority.
pub(crate) struct Authority {
    settings: Settings,
    transport: Transport,
    folder: Folder,
    pending: Arc<Pending>,
    /// Made when it is needed first, by whoever needs it first.
    account: Mutex<Option<Account>>,
}

/// The account's file.
#[derive(Deserialize, Serialize)]
struct KeptAccount {
    contact: Option<String>,
    credentials: AccountCredentials,
}

/// When a certificate should be renewed, in the authority's opinion.
pub(crate) struct Advice {
    /// A moment in the window that it suggests.
    pub(crate) renew_at: SystemTime,
    /// When to ask again.
    pub(crate) ask_at: SystemTime,
}

impl Authority {
    pub(crate) fn new(settings: Settings, transport: Transport, folder: Folder, pending: Arc<Pending>) -> Self {
        Self { settings, transport, folder, pending, account: Mutex::new(None) }
    }

    /// Orders a certificate for a host: a new key and the chain, in PEM. `attempt` counts the failures before this one.
    ///
    /// # Errors
    /// When there is none: why, in words for a person.
    pub(crate) async fn order(
        &self,
        host: &str,
        attempt: u32,
        replaced: Option<&CertificateIdentifier<'_>>,
        tell: &(dyn Fn(Event) + Send + Sync),
    ) -> Result<String, Failure> {
        let mut tries = 1;
        loop {
            let error = match self.try_order(host, attempt, replaced, tell).await {
                Ok(pem) => return Ok(pem),
                Err(error) => error,
            };
            let kind = if let Error::Api(problem) = &error { problem.r#type.as_deref() } else { None };
            match kind {
                Some(NO_ACCOUNT) if tries < MOST_TRIES => self.forget_account(tell).await,
                Some(BAD_NONCE) if tries < MOST_TRIES => {}
                _ => return Err(failure(error)),
            }
            tries += 1;
        }
    }

    async fn try_order(
        &self,
        host: &str,
        attempt: u32,
        replaced: Option<&CertificateIdentifier<'_>>,
        tell: &(dyn Fn(Event) + Send + Sync),
    ) -> Result<String, Error> {
        let account = self.account(tell).await?;
        let mut order = new_order(&account, host, replaced).await?;
        let patience = RetryPolicy::new()
            .initial_delay(self.settings.limits.poll)
            .backoff(LONGER)
            .timeout(self.settings.limits.order);
        let published = self.publish(&mut order, host, attempt).await?;
        if order.state().status == OrderStatus::Pending && order.poll_ready(&patience).await? == OrderStatus::Invalid {
            return Err(refusal(&mut order).await);
        }
        drop(published);
        let key = KeyPair::generate().map_err(other)?;
        let mut parameters = CertificateParams::new([host.to_owned()]).map_err(other)?;
        parameters.distinguished_name = DistinguishedName::new();
        order.finalize_csr(parameters.serialize_request(&key).map_err(other)?.der()).await?;
        let chain = order.poll_certificate(&patience).await?;
        Ok(format!("{}{chain}", key.serialize_pem()))
    }

    /// Answers a challenge of each authorization that the order waits for, and says so.
    async fn publish(&self, order: &mut Order, host: &str, attempt: u32) -> Result<Vec<Published>, Error> {
        let mut published = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => return Err(other(format!("its authorization is {status:?} from the beginning"))),
            }
            let chosen = self.choose(&authorization, attempt)?;
            let kind = match chosen {
                Challenge::Http => ChallengeType::Http01,
                Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
            };
            let mut challenge = authorization.challenge(kind).ok_or(Error::Str("the challenge that was chosen"))?;
            let key = challenge.key_authorization();
            published.push(match chosen {
                Challenge::Http => self.pending.publish_http(host, &challenge.token, key.as_str()),
                Challenge::TlsAlpn => self.pending.publish_tls(host, key.digest().as_ref()).map_err(other)?,
            });
            challenge.set_ready().await?;
        }
        Ok(published)
    }

    /// The challenge to answer: the best that the authority offers, and after a failure the next best.
    fn choose(&self, authorization: &AuthorizationHandle<'_>, attempt: u32) -> Result<Challenge, Error> {
        let offered: Vec<Challenge> = authorization
            .challenges
            .iter()
            .filter_map(|challenge| match challenge.r#type {
                ChallengeType::Http01 => Some(Challenge::Http),
                ChallengeType::TlsAlpn01 => Some(Challenge::TlsAlpn),
                _ => None,
            })
            .collect();
        let usable: Vec<Challenge> =
            self.settings.challenges.iter().copied().filter(|challenge| offered.contains(challenge)).collect();
        let turn = attempt as usize % usable.len().max(1);
        usable.get(turn).copied().ok_or_else(|| {
            other(format!(
                "the certificate authority offers none of the challenges {:?}: look at its settings and at acme.challenge",
                self.settings.challenges
            ))
        })
    }

    /// When a certificate should be renewed, if the authority says. RFC 9773.
    pub(crate) async fn advice(
        &self,
        certificate: &CertificateIdentifier<'_>,
        tell: &(dyn Fn(Event) + Send + Sync),
    ) -> Result<Advice, Error> {
        let (info, delay) = self.account(tell).await?.renewal_info(certificate).await?;
        let (start, end) = (SystemTime::from(info.suggested_window.start), SystemTime::from(info.suggested_window.end));
        let window = end.duration_since(start).map_err(|_| Error::Str("a window that ends after it starts"))?;
        Ok(Advice { renew_at: start + window.mul_f64(chance()), ask_at: SystemTime::now() + delay })
    }

    /// The account: from memory, from its file, or a new one.
    async fn account(&self, tell: &(dyn Fn(Event) + Send + Sync)) -> Result<Account, Error> {
        let mut own = self.account.lock().await;
        if let Some(account) = &*own {
            return Ok(account.clone());
        }
        let account = match self.kept_account(tell) {
            Some(kept) => self.restore(kept, tell).await?,
            None => self.create(tell).await?,
        };
        Ok(own.insert(account).clone())
    }

    fn kept_account(&self, tell: &(dyn Fn(Event) + Send + Sync)) -> Option<KeptAccount> {
        let read = self.folder.read(Kept::Account);
        let content = read.unwrap_or_else(|error| {
            tell(Event::Unkept { file: self.folder.file(Kept::Account), reason: error.to_string() });
            None
        })?;
        match serde_json::from_slice(&content) {
            Ok(kept) => Some(kept),
            Err(error) => {
                let reason = format!("it is not the account that it should be: {error}");
                tell(Event::Corrupt { file: self.folder.file(Kept::Account), reason });
                // The new account's file replaces it in any case.
                drop(self.folder.set_aside(Kept::Account));
                None
            }
        }
    }

    async fn restore(&self, kept: KeptAccount, tell: &(dyn Fn(Event) + Send + Sync)) -> Result<Account, Error> {
        let KeptAccount { contact, credentials } = kept;
        let copy = serde_json::to_value(&credentials)?;
        let account = self.builder().from_credentials(credentials).await?;
        if contact != self.settings.contact {
            account.update_contacts(&self.contact().iter().map(String::as_str).collect::<Vec<_>>()).await?;
            self.keep(
                &KeptAccount { contact: self.settings.contact.clone(), credentials: serde_json::from_value(copy)? },
                tell,
            );
        }
        Ok(account)
    }

    async fn create(&self, tell: &(dyn Fn(Event) + Send + Sync)) -> Result<Account, Error> {
        let contact = self.contact();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = self.builder().create(&new, self.settings.directory_url.clone(), None).await?;
        self.keep(&KeptAccount { contact: self.settings.contact.clone(), credentials }, tell);
        Ok(account)
    }

    fn keep(&self, account: &KeptAccount, tell: &(dyn Fn(Event) + Send + Sync)) {
        let content = serde_json::to_vec_pretty(account).unwrap_or_default();
        if let Err(error) = self.folder.write(Kept::Account, &content) {
            tell(Event::Unkept { file: self.folder.file(Kept::Account), reason: error.to_string() });
        }
    }

    /// The authority has lost the account, or another one has its address now: the next order makes a new one.
    async fn forget_account(&self, tell: &(dyn Fn(Event) + Send + Sync)) {
        let mut own = self.account.lock().await;
        *own = None;
        let reason = "the certificate authority does not know this account any more".to_owned();
        tell(Event::Corrupt { file: self.folder.file(Kept::Account), reason });
        drop(self.folder.set_aside(Kept::Account));
    }

    fn builder(&self) -> instant_acme::AccountBuilder {
        Account::builder_with_http(Box::new(self.transport.clone()))
    }

    fn contact(&self) -> Option<String> {
        self.settings.contact.as_ref().map(|address| format!("mailto:{address}"))
    }
}

/// An order, which names the certificate that it replaces where the authority has use for that.
async fn new_order(
    account: &Account,
    host: &str,
    replaced: Option<&CertificateIdentifier<'_>>,
) -> Result<Order, Error> {
    let identifiers = [Identifier::Dns(host.to_owned())];
    let plain = NewOrder::new(&identifiers);
    let Some(replaced) = replaced else { return account.new_order(&plain).await };
    match account.new_order(&NewOrder::new(&identifiers).replaces(replaced.clone())).await {
        Err(Error::Unsupported(_)) => account.new_order(&plain).await,
        Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(REPLACED) => account.new_order(&plain).await,
        result => result,
    }
}

/// Why an order is invalid: what its challenges say.
async fn refusal(order: &mut Order) -> Error {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.clone()) {
            return Error::Api(problem);
        }
    }
    other("the certificate authority calls the order invalid and does not say why")
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Other(error.into())
}

/// An error in words for a person.
fn failure(error: Error) -> Failure {
    match error {
        Error::Api(problem) => Failure::new(format!("the certificate authority says: {}", said(&problem))),
        Error::Timeout(next) => {
            let wait = next.map(|next| next.saturating_duration_since(std::time::Instant::now()));
            Failure { wait, ..Failure::new("the certificate authority has not decided in time") }
        }
        Error::Other(inner) => match inner.downcast::<TransportError>() {
            Ok(error) => {
                let reason = error.to_string();
                match *error {
                    TransportError::TooMany { wait, everyone, .. } => Failure { reason, wait, everyone },
                    _ => Failure::new(reason),
                }
            }
            Err(inner) => Failure::new(inner.to_string()),
        },
        error => Failure::new(format!("the certificate authority's answer is not ACME: {error}")),
    }
}

/// What a problem document says, with the kind of problem at its end.
fn said(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()).unwrap_or("no type");
    let mut details: Vec<&str> = problem.detail.as_deref().into_iter().collect();
    details.extend(problem.subproblems.iter().filter_map(|sub| sub.detail.as_deref()));
    format!("{} ({kind})", details.join(", "))
}
