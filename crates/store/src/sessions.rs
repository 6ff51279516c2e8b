//! Sessions of people who signed in with an API token. The store keeps the hash of a session's secret only, and a session goes with its
//! token: whoever revokes one ends the other.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use skep_worker::Secret;
use sqlx::{Connection as _, Row as _};

use crate::audit::{Actor, record};
use crate::records::{Timestamp, now};
use crate::tokens::token;
use crate::{Store, StoreResult, Token};

/// Random bytes of a session's secret.
const SESSION_BYTES: usize = 32;
/// Sessions that one token has at once at most: the oldest end.
const MOST_SESSIONS: i64 = 50;
/// A session is used more often than its end is written down: at most once in this part of its lifetime.
const WRITTEN_IN: Timestamp = 48;

/// How long sessions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// After the last use.
    pub idle: Duration,
    /// In all, however much it is used.
    pub total: Duration,
}

/// A session that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The token that it was begun with. It may have expired.
    pub token: Token,
    /// When it ends if it is not used.
    pub expires_on: Timestamp,
}

fn milliseconds(duration: Duration) -> Timestamp {
    Timestamp::try_from(duration.as_millis()).unwrap_or(Timestamp::MAX)
}

fn hash(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

impl Store {
    /// Begins a session with a token. Its secret is nowhere but in the answer.
    ///
    /// # Errors
    /// When the database fails, or the token was revoked meanwhile.
    pub async fn begin_session(&self, actor: &Actor, token: &Token, lifetime: Lifetime) -> StoreResult<Secret> {
        let mut random = [0; SESSION_BYTES];
        // It fails only where the system has no random numbers, and then nothing works.
        aws_lc_rs::rand::fill(&mut random).expect("the system has random numbers");
        let secret = URL_SAFE_NO_PAD.encode(random);
        let now = now();
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        sqlx::query("DELETE FROM sessions WHERE expires_on <= $1").bind(now).execute(&mut *transaction).await?;
        sqlx::query(
            "DELETE FROM sessions WHERE token_id = $1 AND hash NOT IN (SELECT hash FROM sessions WHERE token_id = $1 ORDER BY created_on DESC, hash LIMIT $2)",
        )
        .bind(&token.id)
        .bind(MOST_SESSIONS - 1)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("INSERT INTO sessions (hash, token_id, created_on, expires_on) VALUES ($1, $2, $3, $4)")
            .bind(hash(&secret))
            .bind(&token.id)
            .bind(now)
            .bind(now.saturating_add(milliseconds(lifetime.idle.min(lifetime.total))))
            .execute(&mut *transaction)
            .await?;
        record(&mut transaction, actor, "session.begin", &token.name, &json!({})).await?;
        transaction.commit().await?;
        Ok(Secret::new(secret))
    }

    /// Finds a session by its secret, and puts its end off, as it was used. One that is over is not found.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(&self, secret: &str, lifetime: Lifetime) -> StoreResult<Option<Session>> {
        let (now, hash) = (now(), hash(secret));
        let row = sqlx::query(
            "SELECT tokens.*, sessions.created_on AS begun_on, sessions.expires_on AS ends_on FROM sessions JOIN tokens ON tokens.id = sessions.token_id WHERE sessions.hash = $1 AND sessions.expires_on > $2",
        )
        .bind(&hash)
        .bind(now)
        .fetch_optional(self.readers())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let (begun, ends): (Timestamp, Timestamp) = (row.try_get("begun_on")?, row.try_get("ends_on")?);
        let idle = milliseconds(lifetime.idle);
        let later = now.saturating_add(idle).min(begun.saturating_add(milliseconds(lifetime.total)));
        let mut expires_on = ends;
        if later - ends > idle / WRITTEN_IN {
            let mut writer = self.write().await;
            sqlx::query("UPDATE sessions SET expires_on = $1 WHERE hash = $2")
                .bind(later)
                .bind(&hash)
                .execute(&mut *writer)
                .await?;
            expires_on = later;
        }
        Ok(Some(Session { token: token(&row)?, expires_on }))
    }

    /// Ends a session. That of a secret which nobody knows has ended already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_session(&self, actor: &Actor, secret: &str) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let ended =
            sqlx::query("DELETE FROM sessions WHERE hash = $1").bind(hash(secret)).execute(&mut *transaction).await?;
        if ended.rows_affected() > 0 {
            record(&mut transaction, actor, "session.end", &actor.name, &json!({})).await?;
        }
        Ok(transaction.commit().await?)
    }
}
