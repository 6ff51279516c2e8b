//! Sessions: found by their secret until they are over, ended with their token, kept over a restart and bounded in number.

use std::time::Duration;

use skep_store::{Account, Actor, Lifetime, MasterKeys, NewToken, Permission, Store, Token};
use skep_worker::Secret;
use tempfile::TempDir;

const LONG: Lifetime = Lifetime { idle: Duration::from_secs(3600), total: Duration::from_secs(36_000) };

struct Site {
    folder: TempDir,
    key: Secret,
    store: Store,
    account: Account,
}

impl Site {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let key = MasterKeys::generate();
        let store = open(&folder, &key).await;
        let account = store.create_account("test", "Skep", "dev").await.expect("an account");
        Self { folder, key, store, account }
    }

    fn actor(&self) -> Actor {
        Actor::platform(&self.account.id, "test")
    }

    async fn token(&self) -> Token {
        let permissions = vec![Permission::AccountRead];
        let new = NewToken { name: "ada".to_owned(), permissions, worker: None, expires_on: None };
        self.store.create_token(&self.actor(), new).await.expect("a token").0
    }

    async fn begin(&self, token: &Token, lifetime: Lifetime) -> String {
        self.store.begin_session(&self.actor(), token, lifetime).await.expect("a session").reveal().to_owned()
    }

    async fn is_there(&self, secret: &str) -> bool {
        self.store.session(secret, LONG).await.expect("the store").is_some()
    }
}

async fn open(folder: &TempDir, key: &Secret) -> Store {
    let keys = MasterKeys::parse([key.reveal()]).expect("a key");
    Store::open(folder.path(), keys).await.expect("a store")
}

#[tokio::test]
async fn a_session_lasts_until_it_is_ended() {
    let site = Site::new().await;
    let token = site.token().await;
    let (one, other) = (site.begin(&token, LONG).await, site.begin(&token, LONG).await);
    assert_ne!(one, other);
    let found = site.store.session(&one, LONG).await.expect("the store").expect("the session");
    assert_eq!(found.token, token);
    assert!(!site.is_there("guessed").await && !site.is_there("").await);
    // After a restart too.
    let again = open(&site.folder, &site.key).await;
    assert!(again.session(&one, LONG).await.expect("the store").is_some());
    site.store.end_session(&site.actor(), &one).await.expect("ended");
    assert!(!site.is_there(&one).await && site.is_there(&other).await);
    site.store.revoke_token(&site.actor(), &token.id).await.expect("revoked");
    assert!(!site.is_there(&other).await);
}

#[tokio::test]
async fn a_session_ends_by_itself_and_later_when_it_is_used() {
    let site = Site::new().await;
    let token = site.token().await;
    let over = Lifetime { idle: Duration::ZERO, ..LONG };
    assert!(!site.is_there(&site.begin(&token, over).await).await);

    // Half of its time is over: its use puts its end off, but not beyond what it may last in all.
    let half = Lifetime { idle: LONG.idle / 2, ..LONG };
    let secret = site.begin(&token, half).await;
    let ends = async |lifetime| {
        site.store.session(&secret, lifetime).await.expect("the store").expect("the session").expires_on
    };
    let first = ends(half).await;
    let later = ends(LONG).await;
    assert!(later > first + 1_700_000, "{first} {later}");
    assert_eq!(ends(LONG).await, later, "it is not written at each use");
    let short = Lifetime { idle: LONG.idle * 4, total: LONG.idle * 2 };
    let most = ends(short).await;
    assert!(most > later && most <= later + 3_600_001, "{later} {most}");
}

#[tokio::test]
async fn a_token_has_only_so_many_sessions() {
    let site = Site::new().await;
    let (token, other) = (site.token().await, site.token().await);
    let kept = site.begin(&other, LONG).await;
    let mut secrets = Vec::new();
    for _ in 0..52 {
        secrets.push(site.begin(&token, LONG).await);
    }
    let mut there = 0;
    for secret in &secrets {
        there += usize::from(site.is_there(secret).await);
    }
    assert_eq!(there, 50);
    assert!(site.is_there(&secrets[51]).await && site.is_there(&kept).await);
}
