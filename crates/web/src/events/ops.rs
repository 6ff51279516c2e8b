//! How JavaScript asks about an event, and says how it went.

use std::rc::Rc;

use deno_core::{OpState, op2, v8};
use deno_error::JsErrorBox;
use skep_exchange::Failure;

use super::{EventId, Events, Turns};

/// The URL of a fetch event's request.
#[op2]
#[string]
pub(crate) fn op_request_url(state: &OpState, #[smi] event: u32) -> Result<String, JsErrorBox> {
    Ok(state.borrow::<Events>().head(event)?.url.to_string())
}

/// The headers of a fetch event's request: names and values in turn.
#[op2]
pub(crate) fn op_request_headers<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &OpState,
    #[smi] event: u32,
) -> Result<v8::Local<'s, v8::Array>, JsErrorBox> {
    let headers = &state.borrow::<Events>().head(event)?.headers;
    let mut flat: Vec<v8::Local<'s, v8::Value>> = Vec::with_capacity(headers.len() * 2);
    let too_long = || JsErrorBox::range_error("a header is too long");
    for (name, value) in headers {
        let name = v8::String::new_from_one_byte(scope, name.as_str().as_bytes(), v8::NewStringType::Internalized);
        let value = v8::String::new_from_one_byte(scope, value.as_bytes(), v8::NewStringType::Normal);
        flat.push(name.ok_or_else(too_long)?.into());
        flat.push(value.ok_or_else(too_long)?.into());
    }
    Ok(v8::Array::new_with_elements(scope, &flat))
}

/// The `request.cf` of a fetch event, as JSON.
#[op2]
#[string]
pub(crate) fn op_request_cf(state: &OpState, #[smi] event: u32) -> Result<String, JsErrorBox> {
    Ok(state.borrow::<Events>().head(event)?.cf.as_deref().unwrap_or("{}").to_owned())
}

/// An event's handler threw.
#[op2(fast)]
pub(crate) fn op_event_failed(
    state: &mut OpState,
    #[smi] event: u32,
    #[string] name: &str,
    #[string] message: &str,
    #[string] stack: &str,
    no_handler: bool,
) {
    let failure = if no_handler { Failure::unusable(message) } else { Failure::exception(name, message, stack) };
    state.borrow_mut::<Events>().answer_with_failure(EventId(event), failure);
}

/// An event's handler returned something for the host.
#[op2(fast)]
pub(crate) fn op_event_returned(state: &mut OpState, #[smi] event: u32, #[string] returned: &str) {
    if let Some(state) = state.borrow_mut::<Events>().open.get_mut(&event) {
        state.returned = returned.to_owned();
    }
}

/// From now on code of this event runs, 0 for nobody's.
#[op2(fast)]
pub(crate) fn op_event_runs(state: &mut OpState, #[smi] event: u32) {
    let turns = Rc::clone(state.borrow::<Rc<dyn Turns>>());
    turns.pass_to(state, event);
}

/// An event's handler and its `waitUntil()` promises are settled.
#[op2(fast)]
pub(crate) fn op_event_settled(state: &mut OpState, #[smi] event: u32) {
    state.borrow_mut::<Events>().settle(EventId(event));
}
