//! Sessions of calls as resources: frames out, frames in, and the streams that go with them. What the frames say is
//! JavaScript's business (`rpc.js`).

use std::borrow::Cow;
use std::cell::Cell;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use deno_core::convert::Uint8Array;
use deno_core::{
    AsyncRefCell, CancelFuture as _, CancelHandle, CancelTryFuture as _, OpState, RcRef, Resource, ResourceId, ToV8,
    op2,
};
use deno_error::JsErrorBox;
use http::HeaderMap;
use skep_exchange::rpc::{Attachment, Ending, Frame, FrameError, FrameReceiver, FrameSender, Opening, Room, Session};
use skep_exchange::{Body, BodyError, BodySender, Failure};
use skep_observe::Trigger;
use tokio::sync::oneshot;

use crate::Host;
use crate::body::{BodyResource, Encoder, pump};
use crate::events::{EventId, Events};
use crate::services::target;

type Answering = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// One end of a session.
struct SessionResource {
    /// The event that it belongs to.
    event: u32,
    sender: FrameSender,
    incoming: AsyncRefCell<Incoming>,
    cancel: CancelHandle,
}

struct Incoming {
    receiver: FrameReceiver,
    /// The caller's side: whoever answers. It ends with the session, and says why.
    answering: Option<Answering>,
    failure: Option<Failure>,
}

impl SessionResource {
    fn new(event: u32, session: Session, room: &Room, answering: Option<Answering>) -> Self {
        let Session { mut sender, receiver } = session;
        sender.share(room);
        let incoming = AsyncRefCell::new(Incoming { receiver, answering, failure: None });
        Self { event, sender, incoming, cancel: CancelHandle::default() }
    }
}

impl Resource for SessionResource {
    fn name(&self) -> Cow<'_, str> {
        "rpcSession".into()
    }

    fn close(self: Rc<Self>) {
        self.cancel.cancel();
    }
}

impl Incoming {
    /// The next frame; `None` at the end, with [`Self::failure`] if it is not a good one.
    async fn next(&mut self) -> Option<Frame> {
        let Self { receiver, answering, failure } = self;
        std::future::poll_fn(|context| {
            loop {
                // What was sent before the end arrives before it.
                let received = receiver.poll_next(context);
                if let Poll::Ready(Some(frame)) = received {
                    return Poll::Ready(Some(frame));
                }
                if failure.is_some() {
                    return Poll::Ready(None);
                }
                let Some(future) = answering else { return received };
                match future.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(result) => {
                        *answering = None;
                        *failure = result.err();
                    }
                }
            }
        })
        .await
    }
}

/// A stream on its way into a frame.
struct AttachmentResource(RefCell<Option<Attachment>>);

impl Resource for AttachmentResource {
    fn name(&self) -> Cow<'_, str> {
        "rpcAttachment".into()
    }
}

/// A stream of another isolate that JavaScript writes.
struct SinkResource {
    sender: AsyncRefCell<BodySender>,
    cancel: CancelHandle,
}

impl Resource for SinkResource {
    fn name(&self) -> Cow<'_, str> {
        "rpcSink".into()
    }

    fn close(self: Rc<Self>) {
        self.cancel.cancel();
    }
}

/// Begins a session that this isolate answers. Gives its resource.
pub fn begin_rpc(state: &mut OpState, event: EventId, opening: Opening, waiter: oneshot::Sender<Ending>) -> ResourceId {
    let room = state.borrow::<Room>().clone();
    let Opening { method, headers, depth, session } = opening;
    let rid = state.resource_table.add(SessionResource::new(event.0, session, &room, None));
    state.borrow_mut::<Events>().begin_rpc(event, Trigger::Rpc { method }, &headers, depth, rid, waiter);
    rid
}

/// Opens a session with another Worker. Gives its resource, which is closed with the event at the latest.
#[op2(fast)]
#[smi]
pub(crate) fn op_rpc_open(
    state: &mut OpState,
    #[smi] event: u32,
    #[string] worker: String,
    #[string] entrypoint: String,
    #[string] props: String,
    #[string] method: String,
) -> Result<ResourceId, JsErrorBox> {
    let depth = state.borrow_mut::<Events>().count_call(event)?;
    let (ours, theirs) = Session::pair();
    let services = Arc::clone(&state.borrow::<Host>().services);
    let span = state.borrow::<Events>().span(event, "rpc", true);
    let span = span.map(|span| span.with("rpc.method", method.as_str()).with("skep.worker", worker.as_str()));
    let mut headers = HeaderMap::new();
    if let Some(span) = &span {
        span.propagate(&mut headers);
    }
    let calling = services.rpc(target(worker, entrypoint, props), Opening { method, headers, depth, session: theirs });
    let answering = Box::pin(async move {
        let ended = calling.await;
        if let Some(span) = span {
            span.end(ended.as_ref().err().map(|failure| failure.message.clone()));
        }
        ended
    });
    let room = state.borrow::<Room>().clone();
    let rid = state.resource_table.add(SessionResource::new(event, ours, &room, Some(answering)));
    state.borrow_mut::<Events>().keep(event, rid)?;
    Ok(rid)
}

/// Two ends of one session, both in this isolate.
#[derive(ToV8)]
pub(crate) struct Ends {
    left: ResourceId,
    right: ResourceId,
}

/// Opens a session of an isolate with itself, for a stub of a local object.
#[op2]
pub(crate) fn op_rpc_pair(state: &mut OpState, #[smi] event: u32) -> Result<Ends, JsErrorBox> {
    let room = state.borrow::<Room>().clone();
    let (left, right) = Session::pair();
    let left = state.resource_table.add(SessionResource::new(event, left, &room, None));
    let right = state.resource_table.add(SessionResource::new(event, right, &room, None));
    let events = state.borrow_mut::<Events>();
    events.keep(event, left)?;
    events.keep(event, right)?;
    Ok(Ends { left, right })
}

/// Takes the streams of a frame.
fn take_attachments(state: &OpState, attachments: &[ResourceId]) -> Result<Vec<Attachment>, JsErrorBox> {
    let take = |rid: &ResourceId| {
        let resource = state.resource_table.get::<AttachmentResource>(*rid).map_err(JsErrorBox::from_err)?;
        resource.0.take().ok_or_else(|| JsErrorBox::type_error("The stream was sent already"))
    };
    attachments.iter().map(take).collect()
}

fn close_attachments(state: &mut OpState, attachments: &[ResourceId]) {
    for rid in attachments {
        drop(state.resource_table.take_any(*rid));
    }
}

/// Sends a frame. Gives `false`, and has taken nothing, when there is no room for it. A session that is closed takes
/// everything; who reads from it learns of its end.
#[op2]
pub(crate) fn op_rpc_send(
    state: &mut OpState,
    #[smi] rid: ResourceId,
    head: Uint8Array,
    payload: Uint8Array,
    #[scoped] attachments: Vec<ResourceId>,
) -> Result<bool, JsErrorBox> {
    let Ok(session) = state.resource_table.get::<SessionResource>(rid) else {
        close_attachments(state, &attachments);
        return Ok(true);
    };
    let frame = Frame { head: head.0, payload: payload.0, attachments: take_attachments(state, &attachments)? };
    if let Err(FrameError::Full(frame)) = session.sender.try_send(frame) {
        for (rid, attachment) in attachments.iter().zip(frame.attachments) {
            let resource = state.resource_table.get::<AttachmentResource>(*rid).map_err(JsErrorBox::from_err)?;
            resource.0.replace(Some(attachment));
        }
        return Ok(false);
    }
    close_attachments(state, &attachments);
    Ok(true)
}

/// Sends a frame as soon as there is room for it.
#[op2]
pub(crate) async fn op_rpc_send_when_room(
    state: Rc<RefCell<OpState>>,
    #[smi] rid: ResourceId,
    head: Uint8Array,
    payload: Uint8Array,
    #[scoped] attachments: Vec<ResourceId>,
) -> Result<(), JsErrorBox> {
    let (session, frame) = {
        let mut state = state.borrow_mut();
        let taken = take_attachments(&state, &attachments)?;
        close_attachments(&mut state, &attachments);
        let Ok(session) = state.resource_table.get::<SessionResource>(rid) else { return Ok(()) };
        (session, Frame { head: head.0, payload: payload.0, attachments: taken })
    };
    let cancel = RcRef::map(&session, |session| &session.cancel);
    // A session that was closed takes everything.
    let _ = session.sender.send(frame).or_cancel(cancel).await;
    Ok(())
}

/// A frame that came, or the end of the session: no `head` then, and why it broke, if it did (a name and a message, a
/// line end between them).
#[derive(ToV8)]
pub(crate) struct Received {
    head: Option<Uint8Array>,
    payload: Option<Uint8Array>,
    attachments: Vec<ResourceId>,
    failure: Option<String>,
}

/// Waits for the next frame of a session.
#[op2]
pub(crate) async fn op_rpc_next(state: Rc<RefCell<OpState>>, #[smi] rid: ResourceId) -> Result<Received, JsErrorBox> {
    let closed = Received { head: None, payload: None, attachments: Vec::new(), failure: None };
    let Ok(session) = state.borrow().resource_table.get::<SessionResource>(rid) else { return Ok(closed) };
    let cancel = RcRef::map(&session, |session| &session.cancel);
    let next = async {
        let mut incoming = RcRef::map(&session, |session| &session.incoming).borrow_mut().await;
        incoming.next().await.ok_or_else(|| incoming.failure.clone())
    };
    Ok(match next.or_cancel(cancel).await {
        Ok(Ok(Frame { head, payload, attachments })) => {
            let mut state = state.borrow_mut();
            let attachments =
                attachments.into_iter().map(|attachment| receive(&mut state, session.event, attachment)).collect();
            Received { head: Some(head.into()), payload: Some(payload.into()), attachments, failure: None }
        }
        Ok(Err(failure)) => {
            let failure = failure.map(|failure| format!("{}\n{}", failure.name, failure.message));
            Received { failure, ..closed }
        }
        Err(_) => closed,
    })
}

/// Makes a stream that came with a frame a resource, which is closed with the event.
fn receive(state: &mut OpState, event: u32, attachment: Attachment) -> ResourceId {
    let rid = match attachment {
        Attachment::Source(body) => state.resource_table.add(BodyResource::new(body)),
        Attachment::Sink(sender) => {
            let sender = AsyncRefCell::new(sender);
            state.resource_table.add(SinkResource { sender, cancel: CancelHandle::default() })
        }
    };
    if state.borrow_mut::<Events>().keep(event, rid).is_err() {
        // The event is over: nobody will use it.
        drop(state.resource_table.take_any(rid));
    }
    rid
}

/// A stream that the other side will read: what goes into the frame, and what tells that all of it was read.
#[derive(ToV8)]
pub(crate) struct Source {
    attachment: ResourceId,
    sent: ResourceId,
}

/// Tells when a stream was read by the other side, or given up.
struct SentResource(RefCell<Option<oneshot::Receiver<()>>>);

impl Resource for SentResource {
    fn name(&self) -> Cow<'_, str> {
        "rpcSent".into()
    }
}

/// Makes an attachment of a stream, which is another resource.
#[op2]
pub(crate) fn op_rpc_source(state: &mut OpState, #[smi] rid: ResourceId) -> Result<Source, JsErrorBox> {
    let resource = state.resource_table.take_any(rid).map_err(JsErrorBox::from_err)?;
    let (sender, body) = Body::checked_channel(resource.size_hint().1);
    let (done, sent) = oneshot::channel();
    deno_core::unsync::spawn(async move {
        pump(resource, sender, Encoder::Plain, &Cell::new(0)).await;
        // Nobody listens when the event is over.
        let _ = done.send(());
    });
    Ok(Source {
        attachment: state.resource_table.add(AttachmentResource(RefCell::new(Some(Attachment::Source(body))))),
        sent: state.resource_table.add(SentResource(RefCell::new(Some(sent)))),
    })
}

/// Waits until a stream was read by the other side, or given up.
#[op2]
pub(crate) async fn op_rpc_sent(state: Rc<RefCell<OpState>>, #[smi] rid: ResourceId) -> Result<(), JsErrorBox> {
    let resource = state.borrow_mut().resource_table.take::<SentResource>(rid).map_err(JsErrorBox::from_err)?;
    let sent = resource.0.take();
    if let Some(sent) = sent {
        // A sender that is gone has stopped too.
        let _ = sent.await;
    }
    Ok(())
}

/// A stream that the other side will write: what goes into the frame, and what is read here.
#[derive(ToV8)]
pub(crate) struct Sink {
    attachment: ResourceId,
    body: ResourceId,
}

/// Makes an attachment that the receiver writes to.
#[op2]
pub(crate) fn op_rpc_sink(state: &mut OpState) -> Sink {
    let (sender, body) = Body::checked_channel(None);
    Sink {
        attachment: state.resource_table.add(AttachmentResource(RefCell::new(Some(Attachment::Sink(sender))))),
        body: state.resource_table.add(BodyResource::new(body)),
    }
}

/// Writes to a stream of another isolate, when there is room.
#[op2]
pub(crate) async fn op_rpc_sink_write(
    state: Rc<RefCell<OpState>>,
    #[smi] rid: ResourceId,
    bytes: Uint8Array,
) -> Result<(), JsErrorBox> {
    let resource = state.borrow().resource_table.get::<SinkResource>(rid).map_err(JsErrorBox::from_err)?;
    let cancel = RcRef::map(&resource, |sink| &sink.cancel);
    let write = async {
        let mut sender = RcRef::map(&resource, |sink| &sink.sender).borrow_mut().await;
        match sender.send(Ok(Bytes::from(bytes.0))).await {
            true => Ok(()),
            false => Err(JsErrorBox::type_error("The other side of the WritableStream does not take any more")),
        }
    };
    write.try_or_cancel(cancel).await
}

/// Ends a stream of another isolate. With a message: it breaks off.
#[op2]
pub(crate) async fn op_rpc_sink_end(
    state: Rc<RefCell<OpState>>,
    #[smi] rid: ResourceId,
    #[string] failure: Option<String>,
) -> Result<(), JsErrorBox> {
    let resource = state.borrow_mut().resource_table.take::<SinkResource>(rid).map_err(JsErrorBox::from_err)?;
    let mut sender = RcRef::map(&resource, |sink| &sink.sender).borrow_mut().await;
    match failure {
        Some(message) => drop(sender.send(Err(BodyError::Stream(message))).await),
        None => sender.finish(),
    }
    Ok(())
}

/// The caller closed a session that this isolate answers, or broke it off while a call was running.
#[op2(fast)]
pub(crate) fn op_rpc_closed(state: &mut OpState, #[smi] event: u32, running: bool) {
    state.borrow_mut::<Events>().rpc_closed(EventId(event), running);
}

/// The first call of a session threw.
#[op2(fast)]
pub(crate) fn op_rpc_failed(
    state: &mut OpState,
    #[smi] event: u32,
    #[string] name: &str,
    #[string] message: &str,
    #[string] stack: &str,
) {
    let failure = Failure::exception(name, message, stack);
    state.borrow_mut::<Events>().rpc_failed(EventId(event), failure);
}
