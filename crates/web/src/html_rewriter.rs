//! The parser behind HTMLRewriter: `lol_html` on a fiber, which stops when a JavaScript handler is wanted.
//!
//! JavaScript writes bytes and gets a token when a handler is to be called, or nothing when more bytes are wanted. It
//! answers a token with a list of changes, which are applied where the parser stands.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use deno_core::convert::Uint8Array;
use deno_core::{FromV8, OpState, Resource, ResourceId, ToV8, op2};
use deno_error::JsErrorBox;
use lol_html::html_content::{Comment, ContentType, Doctype, DocumentEnd, Element, EndTag, TextChunk};
use lol_html::{
    AsciiCompatibleEncoding, DocumentContentHandlers, ElementContentHandlers, HandlerResult, HtmlRewriter,
    MemorySettings, Selector, Settings,
};
use skep_fiber::{Fiber, Progress, Suspender};

/// Memory that one parser may use, in bytes.
const MOST_MEMORY: usize = 16 * 1024 * 1024;

/// What JavaScript sends into the fiber.
enum Input {
    /// Bytes of the document.
    Write(Vec<u8>),
    /// There are no more.
    End,
    /// What a handler changed.
    Changes(Vec<Change>),
}

/// What the fiber stops for.
enum Output {
    /// More bytes are wanted.
    NeedInput,
    /// A handler is to be called.
    Token(Token),
}

type ParserFiber = Fiber<Input, Output, Result<(), String>>;
type ParserSuspender = Suspender<Input, Output>;

/// One rule of an HTMLRewriter: a selector (none for the document), and which of its handlers exist.
#[derive(FromV8)]
pub(crate) struct Rule {
    selector: Option<String>,
    wanted: Vec<String>,
}

/// Something a handler wants to see.
#[derive(ToV8, Default)]
pub(crate) struct Token {
    kind: &'static str,
    /// The rule, or the number of the end tag handler.
    handler: u32,
    method: &'static str,
    name: Option<String>,
    namespace: Option<String>,
    attributes: Vec<Vec<String>>,
    text: Option<String>,
    last: bool,
    public_id: Option<String>,
    system_id: Option<String>,
}

/// A change that a handler made: what, a text, whether the text is HTML.
type Change = (String, String, bool);

struct Parser {
    fiber: RefCell<ParserFiber>,
    output: Rc<RefCell<Vec<u8>>>,
}

impl Resource for Parser {
    fn name(&self) -> Cow<'_, str> {
        "htmlRewriter".into()
    }
}

/// Throws if a selector cannot be parsed.
#[op2(fast)]
pub(crate) fn op_html_check_selector(#[string] selector: &str) -> Result<(), JsErrorBox> {
    parse_selector(selector).map(drop)
}

fn parse_selector(selector: &str) -> Result<Selector, JsErrorBox> {
    selector
        .parse()
        .map_err(|error| JsErrorBox::type_error(format!("Parser error in the selector \"{selector}\": {error}")))
}

/// Makes a parser.
#[op2]
#[smi]
pub(crate) fn op_html_start(
    state: &mut OpState,
    #[scoped] rules: Vec<Rule>,
    #[string] charset: String,
) -> Result<ResourceId, JsErrorBox> {
    let encoding = encoding(&charset)?;
    let mut selectors = Vec::with_capacity(rules.len());
    for rule in &rules {
        selectors.push(rule.selector.as_deref().map(parse_selector).transpose()?);
    }
    let output = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&output);
    let fiber = Fiber::new(move |suspender: ParserSuspender, first| {
        parse(&suspender, first, &rules, &selectors, encoding, &sink)
    });
    Ok(state.resource_table.add(Parser { fiber: RefCell::new(fiber), output }))
}

fn encoding(charset: &str) -> Result<AsciiCompatibleEncoding, JsErrorBox> {
    encoding_rs::Encoding::for_label(charset.as_bytes()).and_then(AsciiCompatibleEncoding::new).ok_or_else(|| {
        JsErrorBox::type_error(format!("HTMLRewriter cannot read a document in the encoding \"{charset}\""))
    })
}

/// The fiber's function: parses until there is no more input.
fn parse(
    suspender: &ParserSuspender,
    first: Input,
    rules: &[Rule],
    selectors: &[Option<Selector>],
    encoding: AsciiCompatibleEncoding,
    sink: &Rc<RefCell<Vec<u8>>>,
) -> Result<(), String> {
    let memory = MemorySettings::new().with_max_allowed_memory_usage(MOST_MEMORY);
    let mut settings = Settings::new().with_encoding(encoding).with_memory_settings(memory).with_strict(false);
    for (index, (rule, selector)) in (0..).zip(rules.iter().zip(selectors)) {
        let call = Call { suspender: suspender.clone(), rule: index };
        settings = match selector {
            Some(selector) => {
                settings.append_element_content_handler((Cow::Borrowed(selector), element_handlers(rule, &call)))
            }
            None => settings.append_document_content_handler(document_handlers(rule, &call)),
        };
    }
    let mut rewriter = HtmlRewriter::new(settings, |chunk: &[u8]| sink.borrow_mut().extend_from_slice(chunk));
    let mut input = first;
    loop {
        match input {
            Input::Write(bytes) => rewriter.write(&bytes).map_err(|error| error.to_string())?,
            Input::End => return rewriter.end().map_err(|error| error.to_string()),
            Input::Changes(_) => return Err("changes came without a token".to_owned()),
        }
        input = suspender.suspend(Output::NeedInput);
    }
}

/// How a handler of one rule is called.
#[derive(Clone)]
struct Call {
    suspender: ParserSuspender,
    rule: u32,
}

impl Call {
    /// Stops the fiber until JavaScript has handled a token. Gives what it changed.
    fn handle(&self, token: Token) -> Vec<Change> {
        match self.suspender.suspend(Output::Token(Token { handler: self.rule, ..token })) {
            Input::Changes(changes) => changes,
            // JavaScript answers a token with changes and nothing else.
            Input::Write(_) | Input::End => Vec::new(),
        }
    }
}

fn element_handlers<'h>(rule: &Rule, call: &Call) -> ElementContentHandlers<'h> {
    let mut handlers = ElementContentHandlers::default();
    for method in &rule.wanted {
        let call = call.clone();
        handlers = match method.as_str() {
            "element" => handlers.element(move |element: &mut Element<'_, '_>| on_element(&call, element)),
            "comments" => handlers.comments(move |comment: &mut Comment<'_>| on_comment(&call, comment)),
            "text" => handlers.text(move |text: &mut TextChunk<'_>| on_text(&call, text)),
            _ => handlers,
        };
    }
    handlers
}

fn document_handlers<'h>(rule: &Rule, call: &Call) -> DocumentContentHandlers<'h> {
    let mut handlers = DocumentContentHandlers::default();
    for method in &rule.wanted {
        let call = call.clone();
        handlers = match method.as_str() {
            "doctype" => handlers.doctype(move |doctype: &mut Doctype<'_>| on_doctype(&call, doctype)),
            "comments" => handlers.comments(move |comment: &mut Comment<'_>| on_comment(&call, comment)),
            "text" => handlers.text(move |text: &mut TextChunk<'_>| on_text(&call, text)),
            "end" => handlers.end(move |end: &mut DocumentEnd<'_>| on_end(&call, end)),
            _ => handlers,
        };
    }
    handlers
}

/// What a token has that stands somewhere in the document.
trait Positioned {
    fn before(&mut self, text: &str, content: ContentType);
    fn after(&mut self, text: &str, content: ContentType);
    fn replace(&mut self, text: &str, content: ContentType);
    fn remove(&mut self);
}

macro_rules! positioned {
    ($($token:ty),*) => {$(
        impl Positioned for $token {
            fn before(&mut self, text: &str, content: ContentType) {
                <$token>::before(self, text, content);
            }
            fn after(&mut self, text: &str, content: ContentType) {
                <$token>::after(self, text, content);
            }
            fn replace(&mut self, text: &str, content: ContentType) {
                <$token>::replace(self, text, content);
            }
            fn remove(&mut self) {
                <$token>::remove(self);
            }
        }
    )*};
}
positioned!(Element<'_, '_>, EndTag<'_>, Comment<'_>, TextChunk<'_>);

/// Applies the changes that every token with a position knows; the others go to `own`.
fn apply<T: Positioned>(
    token: &mut T,
    changes: Vec<Change>,
    mut own: impl FnMut(&mut T, &str, String, ContentType) -> HandlerResult,
) -> HandlerResult {
    for (kind, text, is_html) in changes {
        let content = if is_html { ContentType::Html } else { ContentType::Text };
        match kind.as_str() {
            "before" => token.before(&text, content),
            "after" => token.after(&text, content),
            "replace" => token.replace(&text, content),
            "remove" => token.remove(),
            kind => own(token, kind, text, content)?,
        }
    }
    Ok(())
}

fn unknown(kind: &str) -> HandlerResult {
    Err(format!("a token of this kind has no \"{kind}\"").into())
}

fn on_element(call: &Call, element: &mut Element<'_, '_>) -> HandlerResult {
    let attributes = element.attributes().iter().map(|attribute| vec![attribute.name(), attribute.value()]).collect();
    let token = Token {
        kind: "element",
        method: "element",
        name: Some(element.tag_name()),
        namespace: Some(element.namespace_uri().to_owned()),
        attributes,
        ..Token::default()
    };
    apply(element, call.handle(token), |element, kind, text, content| {
        match kind {
            "tagName" => element.set_tag_name(&text)?,
            "setAttribute" => {
                let (name, value) = text.split_once('\0').unwrap_or((&text, ""));
                element.set_attribute(name, value)?;
            }
            "removeAttribute" => element.remove_attribute(&text),
            "prepend" => element.prepend(&text, content),
            "append" => element.append(&text, content),
            "setInnerContent" => element.set_inner_content(&text, content),
            "removeAndKeepContent" => element.remove_and_keep_content(),
            "onEndTag" => return add_end_tag_handler(call, element, text.parse()?),
            kind => return unknown(kind),
        }
        Ok(())
    })
}

fn add_end_tag_handler(call: &Call, element: &mut Element<'_, '_>, handler: u32) -> HandlerResult {
    let suspender = call.suspender.clone();
    let Some(handlers) = element.end_tag_handlers() else { return Err("Parser error: No end tag.".into()) };
    handlers.push(Box::new(move |end_tag| {
        let call = Call { suspender, rule: handler };
        let token = Token { kind: "endTag", name: Some(end_tag.name()), ..Token::default() };
        apply(end_tag, call.handle(token), |end_tag, kind, text, _| match kind {
            "tagName" => {
                end_tag.set_name_str(text);
                Ok(())
            }
            kind => unknown(kind),
        })
    }));
    Ok(())
}

fn on_comment(call: &Call, comment: &mut Comment<'_>) -> HandlerResult {
    let token = Token { kind: "comment", method: "comments", text: Some(comment.text()), ..Token::default() };
    apply(comment, call.handle(token), |comment, kind, text, _| match kind {
        "setText" => Ok(comment.set_text(&text)?),
        kind => unknown(kind),
    })
}

fn on_text(call: &Call, chunk: &mut TextChunk<'_>) -> HandlerResult {
    let token = Token {
        kind: "text",
        method: "text",
        text: Some(chunk.as_str().to_owned()),
        last: chunk.last_in_text_node(),
        ..Token::default()
    };
    apply(chunk, call.handle(token), |_, kind, _, _| unknown(kind))
}

fn on_doctype(call: &Call, doctype: &mut Doctype<'_>) -> HandlerResult {
    let token = Token {
        kind: "doctype",
        method: "doctype",
        name: doctype.name(),
        public_id: doctype.public_id(),
        system_id: doctype.system_id(),
        ..Token::default()
    };
    for (kind, ..) in call.handle(token) {
        match kind.as_str() {
            "remove" => doctype.remove(),
            kind => return unknown(kind),
        }
    }
    Ok(())
}

fn on_end(call: &Call, end: &mut DocumentEnd<'_>) -> HandlerResult {
    for (kind, text, is_html) in call.handle(Token { kind: "end", method: "end", ..Token::default() }) {
        match kind.as_str() {
            "append" => end.append(&text, if is_html { ContentType::Html } else { ContentType::Text }),
            kind => return unknown(kind),
        }
    }
    Ok(())
}

/// Lets a parser go on. Gives the next token, or nothing when it wants input or is done.
fn resume(state: &OpState, rid: ResourceId, input: Input) -> Result<Option<Token>, JsErrorBox> {
    let parser = state.resource_table.get::<Parser>(rid).map_err(JsErrorBox::from_err)?;
    let mut fiber = parser.fiber.borrow_mut();
    if fiber.is_done() {
        return Err(JsErrorBox::type_error("the parser has ended"));
    }
    match fiber.resume(input) {
        Progress::Suspended(Output::NeedInput) | Progress::Done(Ok(())) => Ok(None),
        Progress::Suspended(Output::Token(token)) => Ok(Some(token)),
        Progress::Done(Err(message)) => Err(JsErrorBox::type_error(message)),
    }
}

/// Gives a parser bytes.
#[op2]
pub(crate) fn op_html_write(
    state: &OpState,
    #[smi] rid: ResourceId,
    bytes: Uint8Array,
) -> Result<Option<Token>, JsErrorBox> {
    resume(state, rid, Input::Write(bytes.0.to_vec()))
}

/// Tells a parser that the document ends.
#[op2]
pub(crate) fn op_html_end(state: &OpState, #[smi] rid: ResourceId) -> Result<Option<Token>, JsErrorBox> {
    resume(state, rid, Input::End)
}

/// Tells a parser what a handler changed.
#[op2]
pub(crate) fn op_html_resume(
    state: &OpState,
    #[smi] rid: ResourceId,
    #[scoped] changes: Vec<Change>,
) -> Result<Option<Token>, JsErrorBox> {
    resume(state, rid, Input::Changes(changes))
}

/// Takes what a parser has written.
#[op2]
pub(crate) fn op_html_output(state: &OpState, #[smi] rid: ResourceId) -> Result<Uint8Array, JsErrorBox> {
    let parser = state.resource_table.get::<Parser>(rid).map_err(JsErrorBox::from_err)?;
    let output = std::mem::take(&mut *parser.output.borrow_mut());
    Ok(output.into())
}
