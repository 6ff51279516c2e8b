//! The page that a client sees in place of a Worker's answer: readable, with Cloudflare's code, and nothing of the
//! Worker's inside unless the caller adds it.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use skep_exchange::{Body, BodyError, Failure, Response};
use skep_worker::ErrorCode;

/// What a page says.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// The HTTP status.
    pub status: StatusCode,
    /// A few words, the page's heading.
    pub title: &'a str,
    /// What happened and what to do, in plain text.
    pub message: &'a str,
    /// Text that is shown as it is: an error with its stack, or a frame of source code.
    pub detail: Option<&'a str>,
}

/// Marks a response that is a page, until the request's name is put on it.
#[derive(Clone, Copy)]
struct Unnamed;

/// Where the name goes.
const END: &str = "</body></html>\n";

/// Puts the name of the request on a response that is a page.
pub(crate) fn name(response: &mut Response, ray: Option<&HeaderValue>) {
    if response.extensions_mut().remove::<Unnamed>().is_none() {
        return;
    }
    let Some(ray) = ray.and_then(|ray| ray.to_str().ok()) else { return };
    let page =
        response.body().as_full().and_then(|page| Some(std::str::from_utf8(page).ok()?.strip_suffix(END)?.to_owned()));
    if let Some(page) = page {
        *response.body_mut() = Body::full(format!("{page}<footer>Ray ID: {}</footer>{END}", escape(ray)));
    }
}

impl Page<'_> {
    /// The page as a response.
    pub fn response(&self) -> Response {
        let detail = self.detail.map(|detail| format!("<pre>{}</pre>", escape(detail))).unwrap_or_default();
        let (title, message) = (escape(self.title), escape(self.message));
        let html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>\
             :root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;margin:4rem auto;max-width:48rem;padding:0 1rem}}\
             h1{{font-size:1.4rem}}footer{{font-size:13px;margin-top:2rem;opacity:.7}}pre{{background:#8881;border-left:4px solid #c33;overflow:auto;padding:1rem;font:13px/1.45 ui-monospace,monospace}}\
             </style></head><body><h1>{title}</h1><p>{message}</p>{detail}{END}"
        );
        let mut response = Response::new(Body::full(html));
        *response.status_mut() = self.status;
        response.extensions_mut().insert(Unnamed);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// The response to a client whose request failed. `detail` is the author's business: give it in development only.
pub fn error_page(failure: &Failure, detail: Option<&str>) -> Response {
    let code = failure.code;
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = format!("Error {}: {}", code.number(), code.title());
    let message = match code {
        ErrorCode::Exception => {
            "The Worker for this address threw an exception. If you are its author, its log says where."
        }
        ErrorCode::ExceededLimit => {
            "The Worker for this address used more CPU time or memory than it may. If you are its author, its log says which limit and how much."
        }
        ErrorCode::ScriptUnusable => {
            "The Worker for this address cannot handle this request. If you are its author, its log says why."
        }
        // It is the platform's own sentence, for whoever asks.
        ErrorCode::OverQuota => &failure.message,
        ErrorCode::Overloaded => {
            "The Worker for this address has more requests than it can handle. Try again in a moment. If you are its author, its log says which limit was reached."
        }
    };
    let mut response = Page { status, title: &title, message, detail }.response();
    let retry_after = failure.retry_after.or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(1));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The response to a client whose request's body did not come completely, if it still reads one.
pub fn broken_body(error: &BodyError) -> Response {
    let (status, title) = match error {
        BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "Request body too large"),
        BodyError::Transport(_) | BodyError::Stream(_) => (StatusCode::BAD_REQUEST, "Bad request"),
    };
    Page { status, title, message: &error.to_string(), detail: None }.response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use skep_exchange::Failure;

    #[tokio::test]
    async fn a_page_is_inert() {
        let failure = Failure::exception("Error", "boom", "");
        let response = super::error_page(&failure, Some("<script>alert(1)</script>"));
        assert_eq!(response.status(), 500);
        let body = response.into_body().collect(10_000).await.unwrap();
        let html = std::str::from_utf8(&body).unwrap();
        assert!(html.contains("Error 1101: Worker threw exception"), "{html}");
        assert!(html.contains("&lt;script&gt;"), "{html}");
        assert!(!html.contains("<script>"), "{html}");
    }

    #[tokio::test]
    async fn a_page_has_the_name_of_its_request_once() {
        let mut response = super::error_page(&Failure::exception("Error", "boom", ""), None);
        let ray = http::HeaderValue::from_static("0123456789abcdef-SKP");
        super::name(&mut response, Some(&ray));
        super::name(&mut response, Some(&ray));
        let body = response.into_body().collect(10_000).await.expect("a body");
        let html = std::str::from_utf8(&body).expect("text");
        assert_eq!(html.matches("Ray ID: 0123456789abcdef-SKP").count(), 1, "{html}");
        assert!(html.ends_with("</body></html>\n"), "{html}");
    }
}
