//! What lies outside of an isolate and is no network: other Workers, static assets, rate limits. The seam to whoever runs
//! the isolate, and the ops of the bindings that use it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use deno_core::convert::{ByteString, Uint8Array};
use deno_core::{OpState, ResourceId, op2};
use deno_error::JsErrorBox;
use http::header::CONTENT_LENGTH;
use skep_exchange::rpc::{Ending, Opening};
use skep_exchange::{Failure, Request, RequestCf, Response};

use crate::Host;
use crate::events::Events;
use crate::fetch::{Started, body, end_span, pend, request, request_span, set_length};

/// Which of a Worker's entrypoints is meant, and what it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entrypoint {
    /// The name of the export; the default export if it is not named.
    pub name: Option<String>,
    /// `ctx.props` as JSON; an empty object if there are none.
    pub props: Option<String>,
}

/// A Worker that another one calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceTarget {
    /// The Worker's name.
    pub worker: String,
    /// Which of its entrypoints.
    pub entrypoint: Entrypoint,
}

/// A rate limit, as a binding declares it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// Bindings of one namespace count together.
    pub namespace: String,
    /// How often it may happen for one key in each period.
    pub limit: u32,
    /// The period in seconds.
    pub period: u32,
}

/// What a method of [`Services`] gives.
pub type ServiceFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Serves the bindings that reach outside of an isolate. Methods are called on the isolate's thread and must not block; the
/// futures run there too, and dropping one means that nobody waits for it any more. A call of a Worker of its own name never comes
/// here: the isolate answers itself.
pub trait Services: Send + Sync {
    /// Hands a request to the fetch handler of another Worker's entrypoint. A failure becomes an error that the caller can
    /// catch: the target is missing, it threw, or a limit stopped it.
    fn fetch(&self, target: ServiceTarget, request: Request) -> ServiceFuture<Result<Response, Failure>>;

    /// Has an isolate of another Worker answer a session of calls, until either end closes it. A failure is what the caller's
    /// pending calls are rejected with.
    fn rpc(&self, target: ServiceTarget, opening: Opening) -> ServiceFuture<Result<(), Failure>>;

    /// Answers a request for one of the version's static assets.
    fn assets(&self, request: Request) -> ServiceFuture<Result<Response, Failure>>;

    /// Counts one more use of a key. Gives whether it is within the limit.
    fn limit(&self, rate: &RateLimit, key: &str) -> ServiceFuture<Result<bool, Failure>>;
}

/// For where there is nothing outside of the isolate: each use is an error that says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoServices;

fn nothing<T: Send + 'static>(message: String) -> ServiceFuture<Result<T, Failure>> {
    Box::pin(std::future::ready(Err(Failure::unusable(message))))
}

/// A Worker that is not there.
pub fn no_such_worker(target: &ServiceTarget) -> Failure {
    Failure::unusable(format!(
        "There is no Worker named \"{}\" here: deploy it, or correct the service binding that names it",
        target.worker
    ))
}

impl Services for NoServices {
    fn fetch(&self, target: ServiceTarget, _: Request) -> ServiceFuture<Result<Response, Failure>> {
        Box::pin(std::future::ready(Err(no_such_worker(&target))))
    }

    fn rpc(&self, target: ServiceTarget, _: Opening) -> ServiceFuture<Result<(), Failure>> {
        Box::pin(std::future::ready(Err(no_such_worker(&target))))
    }

    fn assets(&self, _: Request) -> ServiceFuture<Result<Response, Failure>> {
        nothing(
            "No static assets are served here: set \"assets\": { \"directory\": … } in the configuration".to_owned(),
        )
    }

    fn limit(&self, rate: &RateLimit, _: &str) -> ServiceFuture<Result<bool, Failure>> {
        nothing(format!("Rate limits are not counted here (namespace \"{}\")", rate.namespace))
    }
}

/// What an [`Ending`] is for the caller of the session.
pub fn ended(ending: Ending) -> Result<(), Failure> {
    match ending {
        Ending::Closed => Ok(()),
        Ending::Failure(failure) => Err(failure),
        Ending::NotStarted(_) => Err(Failure::unusable("the isolate ended before it looked at the call")),
    }
}

/// A failure as an error of the class that it names, marked as one that comes from elsewhere. `rpc_errors.js` makes it.
pub(crate) fn remote_error(failure: &Failure) -> JsErrorBox {
    JsErrorBox::new("Remote", format!("{}\n{}", failure.name, failure.message))
}

pub(crate) fn target(worker: String, entrypoint: String, props: String) -> ServiceTarget {
    let given = |text: String| (!text.is_empty()).then_some(text);
    ServiceTarget { worker, entrypoint: Entrypoint { name: given(entrypoint), props: given(props) } }
}

/// Starts a request to another Worker, or to the static assets if no Worker is named. As `op_fetch_start`; `cf` is the
/// request's as JSON, empty if it has none.
#[op2]
#[allow(clippy::too_many_arguments, reason = "one call of an op carries a whole request")]
pub(crate) fn op_service_fetch(
    state: &mut OpState,
    #[smi] event: u32,
    #[string] worker: String,
    #[string] entrypoint: String,
    #[string] props: String,
    #[string] cf: String,
    #[scoped] method: ByteString,
    #[string] url: String,
    #[scoped] headers: Vec<ByteString>,
    data: Option<Uint8Array>,
    #[smi] rid: ResourceId,
) -> Result<Started, JsErrorBox> {
    let depth = state.borrow_mut::<Events>().count_call(event)?;
    let mut request = request(&method, &url, headers)?;
    *request.body_mut() = body(state, data, rid)?;
    set_length(&mut request);
    request.extensions_mut().insert(depth);
    if !cf.is_empty() {
        request.extensions_mut().insert(RequestCf(cf.into()));
    }
    let name = if worker.is_empty() { "assets" } else { "service binding" };
    let mut span = request_span(state, event, name, &mut request);
    if let Some(span) = span.as_mut().filter(|_| !worker.is_empty()) {
        span.tell("skep.worker", worker.as_str());
    }
    let services = Arc::clone(&state.borrow::<Host>().services);
    let answering = match worker.is_empty() {
        true => services.assets(request),
        false => services.fetch(target(worker, entrypoint, props), request),
    };
    Ok(pend(state, async move {
        let answered = answering.await.map(|response| (response, false)).map_err(|failure| remote_error(&failure));
        end_span(span, &answered);
        let mut answer = skep_outbound::decode(answered?.0);
        // What is known of the length is said as it would be over the network.
        let length = http_body::Body::size_hint(answer.response.body()).exact().filter(|_| !answer.decoded);
        if let Some(length) = length {
            answer.response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
        }
        Ok((answer.response, answer.decoded))
    }))
}

/// Counts a use of a rate limit. Gives whether it is within the limit.
#[op2]
pub(crate) async fn op_rate_limit(
    state: Rc<RefCell<OpState>>,
    #[smi] event: u32,
    #[string] namespace: String,
    #[smi] limit: u32,
    #[smi] period: u32,
    #[string] key: String,
) -> Result<bool, JsErrorBox> {
    let (counting, span) = {
        let mut state = state.borrow_mut();
        state.borrow_mut::<Events>().count_subrequest(event)?;
        let span = state.borrow::<Events>().span(event, "rate limit", true);
        (state.borrow::<Host>().services.limit(&RateLimit { namespace, limit, period }, &key), span)
    };
    let counted = counting.await;
    if let Some(span) = span {
        span.end(counted.as_ref().err().map(|failure| failure.message.clone()));
    }
    counted.map_err(|failure| remote_error(&failure))
}
