//! Plain HTTP beside TLS: challenges of certificate authorities are answered, everything else is sent to where TLS is spoken.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};
use skep_exchange::{Body, Request, Response};
use skep_gateway::{Answering, Handler, Page};

use crate::certificates::OnDemand;

/// Answers what comes over plain HTTP.
pub(crate) struct Plain {
    pub(crate) certificates: Option<Arc<OnDemand>>,
    /// The port of TLS, if it is not the usual one.
    pub(crate) port: Option<u16>,
}

/// The same for each thread of the gateway.
pub(crate) struct Shared(pub(crate) Arc<Plain>);

impl Handler for Shared {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        Box::pin(std::future::ready(self.0.answer(&request)))
    }
}

impl Plain {
    fn answer(&self, request: &Request) -> Response {
        let uri = request.uri();
        let (host, path) = (uri.host().unwrap_or_default(), uri.path());
        // RFC 8555, section 8.3.
        if let Some(challenge) =
            self.certificates.as_ref().and_then(|certificates| certificates.http_challenge(host, path))
        {
            let mut response = Response::new(Body::full(challenge));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            return response;
        }
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let target = uri.path_and_query().map_or("/", |path| path.as_str());
        let message = "The platform answers over HTTPS.";
        // 308: the method and the body are sent again. RFC 9110, section 15.4.9.
        let mut response =
            Page { status: StatusCode::PERMANENT_REDIRECT, title: "Moved", message, detail: None }.response();
        if let Ok(location) = HeaderValue::from_str(&format!("https://{host}{port}{target}")) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http::header::LOCATION;
    use skep_exchange::{Body, Request};

    use super::Plain;

    #[test]
    fn what_comes_is_sent_to_tls_with_its_path() {
        let to = |port, url: &str| {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = url.parse().expect("a URL");
            let response = Plain { certificates: None, port }.answer(&request);
            assert_eq!(response.status(), 308);
            response.headers()[LOCATION].to_str().expect("text").to_owned()
        };
        assert_eq!(to(None, "http://a.example/b?c=d"), "https://a.example/b?c=d");
        assert_eq!(to(Some(8443), "http://a.example:8080/"), "https://a.example:8443/");
        assert_eq!(to(Some(8443), "http://[::1]:8080/"), "https://[::1]:8443/");
    }
}
