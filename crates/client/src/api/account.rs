//! The account, who calls, and API tokens.

use ::http::Method;
use serde::Serialize;
use serde_json::Value;

use super::{Account, Api, Root, Sent, Token, TokenStatus, User, json, segment};
use crate::error::Result;

/// A token to be made.
#[derive(Clone, Debug, Serialize)]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub permissions: Vec<String>,
    /// The only Worker that it is for.
    pub worker: Option<String>,
    /// From when on it is refused, RFC 3339.
    pub expires_on: Option<String>,
}

impl Api {
    /// Whether the token is good.
    ///
    /// # Errors
    /// When it is not, or the platform cannot be reached.
    pub async fn verify_token(&self) -> Result<TokenStatus> {
        self.get(Root::Cloudflare, "/user/tokens/verify").await
    }

    /// The accounts that the token is for.
    ///
    /// # Errors
    /// When the token is not good, or the platform cannot be reached.
    pub async fn accounts(&self) -> Result<Vec<Account>> {
        self.list(Root::Cloudflare, "/accounts").await
    }

    /// Whoever the token stands for.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn user(&self) -> Result<User> {
        self.get(Root::Cloudflare, "/user").await
    }

    /// The account's tokens, without the tokens themselves.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn tokens(&self) -> Result<Vec<Token>> {
        self.get(Root::Own, "/tokens").await
    }

    /// Makes a token.
    ///
    /// # Errors
    /// When the API refuses: nobody gives a permission that he does not have.
    pub async fn create_token(&self, new: &NewToken) -> Result<Token> {
        self.send(Method::POST, Root::Own, "/tokens", json(new)).await
    }

    /// Revokes a token, by its id.
    ///
    /// # Errors
    /// When there is none.
    pub async fn revoke_token(&self, id: &str) -> Result<()> {
        let path = format!("/tokens/{}", segment(id));
        self.send::<Value>(Method::DELETE, Root::Own, &path, Sent::Nothing).await.map(drop)
    }
}
