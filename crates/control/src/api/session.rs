//! Signing in and out with a browser. The session's cookie then stands for the token, wherever a token is asked for.

use std::time::Instant;

use http::header::{CACHE_CONTROL, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use skep_exchange::Response;
use skep_store::{Timestamp, Token};
use time::OffsetDateTime;

use crate::answer::{Answer, date};
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};
use crate::session::LIFETIME;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        endpoint!(POST "/skep/v1/session", Access::Bearer, "Sign in with an API token: the answer sets a cookie that stands for it", begin),
        endpoint!(GET "/skep/v1/session", Access::Token, "Who is signed in, and until when", session),
        endpoint!(DELETE "/skep/v1/session", Access::Token, "Sign out: the session is over, and its cookie is taken away", end),
    ]
}

#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    token: String,
}

/// The token in the body is what is checked here; a wrong one is counted.
async fn begin(mut call: Call) -> ApiResult {
    let sent: Sent = call.json().await?;
    let text = sent.token.trim();
    if text.is_empty() {
        return Err(ApiError::authentication());
    }
    call.site.check(&Method::POST)?;
    // Where no cookie may be set, no token is looked at.
    call.site.set_cookie("")?;
    if let Err(wait) = call.control.attempts.begin(call.client.as_deref(), Instant::now()) {
        return Ok(Answer::Raw(Box::new(too_many(wait.as_secs() + 1))));
    }
    let found = call.store().token(text).await?.filter(|token| !token.is_expired());
    let token = found.ok_or_else(|| {
        let message = "This token is unknown, expired or revoked. The one of the first account is in the file admin-token of the platform's data directory; `skep token create` makes others";
        ApiError::new(StatusCode::UNAUTHORIZED, 10000, message)
    })?;
    call.control.attempts.succeeded(call.client.as_deref());
    call.token = Some(token.clone());
    let secret = call.store().begin_session(&call.actor(), &token, LIFETIME).await?;
    let ends = OffsetDateTime::now_utc() + LIFETIME.idle;
    let ends = Timestamp::try_from(ends.unix_timestamp_nanos() / 1_000_000).unwrap_or(Timestamp::MAX);
    answer(&call, &token, Some((secret.reveal(), ends))).await
}

async fn session(call: Call) -> ApiResult {
    let token = call.token.as_ref().ok_or_else(ApiError::authentication)?;
    let kept = call.session.as_ref().map(|session| (session.secret.reveal(), session.expires_on));
    answer(&call, token, kept).await
}

async fn end(call: Call) -> ApiResult {
    let mut response = Answer::done().into_response();
    if let Some(session) = &call.session {
        call.store().end_session(&call.actor(), session.secret.reveal()).await?;
        response.headers_mut().append(SET_COOKIE, call.site.set_cookie("")?);
    }
    Ok(Answer::Raw(Box::new(response)))
}

/// Who is signed in. The cookie is set again, so that the browser keeps it as long as the session lasts.
async fn answer(call: &Call, token: &Token, session: Option<(&str, Timestamp)>) -> ApiResult {
    let account = call.store().account(&token.account_id).await?.ok_or_else(ApiError::authentication)?;
    let shown = json!({
        "account": { "id": account.id, "name": account.name, "subdomain": account.subdomain },
        "token": {
            "id": token.id,
            "name": token.name,
            "permissions": token.permissions,
            "worker": token.worker,
            "expires_on": token.expires_on.map(date),
        },
        "session": session.map(|(_, expires_on)| json!({ "expires_on": date(expires_on) })),
    });
    let mut response = Answer::ok(shown).into_response();
    if let Some((secret, _)) = session {
        response.headers_mut().append(SET_COOKIE, call.site.set_cookie(secret)?);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(Answer::Raw(Box::new(response)))
}

fn too_many(seconds: u64) -> Response {
    let message = format!("Too many attempts to sign in from this address: try again in {seconds} seconds");
    let mut response = ApiError::new(StatusCode::TOO_MANY_REQUESTS, 10429, message).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
