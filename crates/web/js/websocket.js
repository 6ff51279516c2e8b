// WebSocket and WebSocketPair. https://developers.cloudflare.com/workers/runtime-apis/websockets/
//
// A WebSocket here is one end of a connection. The other end is another WebSocket of the same isolate (a pair), or the
// host, which speaks to the network: because the Worker returned an end in a response with status 101, because fetch()
// was answered with an upgrade, or because of `new WebSocket(url)`. What arrives waits until the end is accepted.

import { core, primordials } from "ext:core/mod.js";
import { defineInspect } from "ext:skep_web/console.js";
import { currentId, currentInvocation, reportException, requireEvent } from "ext:skep_web/context.js";
import { isOn } from "ext:skep_web/flags.js";
import { setIsWebSocket } from "ext:skep_web/http.js";
import { bytesOf } from "ext:skep_web/streams.js";
import { runs } from "ext:skep_web/turns.js";

const {
  ArrayBufferIsView,
  ArrayPrototypePush,
  ArrayPrototypeShift,
  Error,
  ObjectDefineProperties,
  ObjectPrototypeIsPrototypeOf,
  PromisePrototypeThen,
  PromiseResolve,
  SafeArrayIterator,
  SafeSet,
  SetPrototypeAdd,
  SetPrototypeHas,
  StringPrototypeToLowerCase,
  Symbol,
  SymbolIterator,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeSlice,
  TypeError,
  Uint8Array,
} = primordials;
const { getAsyncContext, setAsyncContext } = core;
const ops = core.ops;

const { CloseEvent, defineEventHandler, ErrorEvent, Event, EventTarget, MessageEvent } = core.loadExtScript("ext:deno_web/02_event.js");
const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");
const { Blob } = core.loadExtScript("ext:deno_web/09_file.js");
const { URL } = core.loadExtScript("ext:deno_web/00_url.js");
const { HTTP_TOKEN_CODE_POINT_RE } = core.loadExtScript("ext:deno_web/00_infra.js");

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

const MOST_REASON_BYTES = 123;
const NO_STATUS = 1005;
const ABNORMAL = 1006;
const TLS_FAILED = 1015;

/** Makes an end without connecting it. */
const _unconnected = Symbol("unconnected");
const _end = Symbol("end");

/** What an end does, apart from the API in front of it. */
class End {
  socket;
  /** Where messages go: `{ text(string), binary(bytes), close(code, reason), buffered() }`. */
  sink = null;
  /** The other end of a pair. */
  peer = null;
  /** The host's resource behind an end that fetch() gave. */
  rid = 0;
  /** Whether the end was returned in a response: what arrives is the client's. */
  given = false;
  state = OPEN;
  accepted = false;
  /** What arrived before `accept()`. */
  waiting = [];
  /** The event in which the end was accepted: its listeners run as part of it. */
  context = null;
  sentClose = false;
  url = null;
  protocol = "";
  extensions = "";
  binaryType = isOn("websocket_standard_binary_type") ? "blob" : "arraybuffer";
  attachment = null;
  /** Called when the end is accepted. */
  onAccept = null;

  constructor(socket) {
    this.socket = socket;
  }

  /** A message `{ text }`, `{ bytes }` or `{ code, reason }` from the other end. */
  receive(message) {
    if (!this.accepted) {
      ArrayPrototypePush(this.waiting, message);
      return;
    }
    PromisePrototypeThen(PromiseResolve(), () => this.deliver(message));
  }

  deliver(message) {
    if (this.state === CLOSED) return;
    if (message.text !== undefined) {
      this.dispatch(new MessageEvent("message", { data: message.text, origin: this.origin() }));
    } else if (message.bytes !== undefined) {
      const { buffer } = message.bytes;
      const data = this.binaryType === "blob" ? new Blob([buffer]) : buffer;
      this.dispatch(new MessageEvent("message", { data, origin: this.origin() }));
    } else {
      this.receiveClose(message.code, message.reason);
    }
  }

  origin() {
    return this.url === null ? "" : new URL(this.url).origin;
  }

  receiveClose(code, reason) {
    const wasClean = code !== ABNORMAL;
    if (!this.sentClose && isOn("web_socket_auto_reply_to_close")) {
      this.sentClose = true;
      this.sink.close(wasClean ? code : undefined, "");
    }
    // Without that flag the Worker answers the close itself.
    this.state = this.sentClose || !wasClean ? CLOSED : CLOSING;
    if (!wasClean && reason !== "") {
      this.dispatch(new ErrorEvent("error", { message: reason, error: new Error(reason) }));
    }
    this.dispatch(new CloseEvent("close", { code, reason: wasClean ? reason : "", wasClean }));
  }

  dispatch(event) {
    const previous = getAsyncContext();
    setAsyncContext(this.context);
    runs();
    try {
      this.socket.dispatchEvent(event);
    } catch (error) {
      reportException(error);
    } finally {
      setAsyncContext(previous);
    }
  }

  accept() {
    if (this.accepted) return;
    this.accepted = true;
    this.context = getAsyncContext();
    this.onAccept?.();
    while (this.waiting.length > 0) this.receive(ArrayPrototypeShift(this.waiting));
  }

  close(code, reason) {
    if (this.sentClose || this.state === CLOSED) return;
    const answers = this.state === CLOSING;
    this.state = answers ? CLOSED : CLOSING;
    if (this.sink === null) return;
    this.sentClose = true;
    this.sink.close(code, reason);
  }
}

class WebSocket extends EventTarget {
  constructor(url, protocols = []) {
    super();
    this[_end] = new End(this);
    if (url === _unconnected) return;
    requireEvent("new WebSocket()");
    connect(this[_end], parseUrl(url), parseProtocols(protocols));
  }

  get readyState() {
    return this[_end].state;
  }
  get bufferedAmount() {
    return this[_end].sink?.buffered() ?? 0;
  }
  get url() {
    return this[_end].url;
  }
  get protocol() {
    return this[_end].protocol;
  }
  get extensions() {
    return this[_end].extensions;
  }
  get binaryType() {
    return this[_end].binaryType;
  }
  set binaryType(value) {
    if (value === "blob" || value === "arraybuffer") this[_end].binaryType = value;
  }

  /** Starts delivery of messages. Nothing arrives before. */
  accept(_options = undefined) {
    const end = this[_end];
    if (end.given) throw new TypeError("This WebSocket was given away in a response: accept() the other end of the pair");
    end.accept();
  }

  send(message) {
    const end = this[_end];
    if (arguments.length === 0) throw new TypeError("WebSocket.send() needs a message");
    if (end.given) throw new TypeError("This WebSocket was given away in a response: send() on the other end of the pair");
    if (end.state === CONNECTING) throw new DOMException("The WebSocket is not open yet: wait for its \"open\" event", "InvalidStateError");
    if (!end.accepted) throw new TypeError("You must call accept() on this WebSocket before sending messages.");
    if (end.state !== OPEN) {
      if (end.sentClose) throw new TypeError("Can't call WebSocket send() after close().");
      return;
    }
    if (ArrayBufferIsView(message) || core.isAnyArrayBuffer(message)) {
      end.sink.binary(TypedArrayPrototypeSlice(bytesOf(message, "WebSocket.send()")));
    } else if (ObjectPrototypeIsPrototypeOf(Blob.prototype, message)) {
      PromisePrototypeThen(message.arrayBuffer(), (buffer) => end.sink.binary(new Uint8Array(buffer)));
    } else {
      end.sink.text(`${message}`);
    }
  }

  close(code = undefined, reason = "") {
    const end = this[_end];
    if (code !== undefined) {
      code = +code;
      if (!(code >= 1000 && code <= 4999) || code === 1004 || code === NO_STATUS || code === ABNORMAL || code === TLS_FAILED) {
        throw new DOMException(`Invalid WebSocket close code: ${code}. Use 1000, or a number from 3000 to 4999.`, "InvalidAccessError");
      }
    }
    reason = `${reason}`;
    if (code === undefined && reason !== "") {
      throw new TypeError("If you specify a WebSocket close reason, you must also specify a code.");
    }
    if (TypedArrayPrototypeGetByteLength(core.encode(reason)) > MOST_REASON_BYTES) {
      throw new DOMException(`A WebSocket close reason may have ${MOST_REASON_BYTES} bytes at most`, "SyntaxError");
    }
    if (end.given) throw new TypeError("This WebSocket was given away in a response: close() the other end of the pair");
    end.close(code, reason);
  }

  serializeAttachment(value) {
    this[_end].attachment = core.serialize(value);
  }

  deserializeAttachment() {
    const { attachment } = this[_end];
    return attachment === null ? null : core.deserialize(attachment);
  }
}

for (const name of ["open", "message", "close", "error"]) {
  defineEventHandler(WebSocket.prototype, name);
}
const constants = { CONNECTING, OPEN, CLOSING, CLOSED, READY_STATE_CONNECTING: CONNECTING, READY_STATE_OPEN: OPEN, READY_STATE_CLOSING: CLOSING, READY_STATE_CLOSED: CLOSED };
for (const name in constants) {
  const property = { [name]: { __proto__: null, value: constants[name], enumerable: true } };
  ObjectDefineProperties(WebSocket, property);
  ObjectDefineProperties(WebSocket.prototype, property);
}

setIsWebSocket((value) => ObjectPrototypeIsPrototypeOf(WebSocket.prototype, value));

/** Two ends, connected to each other: `const [client, server] = Object.values(new WebSocketPair())`. */
class WebSocketPair {
  constructor() {
    const ends = [new WebSocket(_unconnected), new WebSocket(_unconnected)];
    connectEnds(ends[0][_end], ends[1][_end]);
    this[0] = ends[0];
    this[1] = ends[1];
  }

  *[SymbolIterator]() {
    yield this[0];
    yield this[1];
  }
}

function connectEnds(left, right) {
  left.sink = sinkOf(right);
  right.sink = sinkOf(left);
  left.peer = right;
  right.peer = left;
}

/** Delivers straight to another end. */
function sinkOf(end) {
  return {
    text: (text) => end.receive({ text }),
    binary: (bytes) => end.receive({ bytes }),
    close: (code, reason) => end.receive({ code: code ?? NO_STATUS, reason: reason ?? "" }),
    buffered: () => 0,
  };
}

/** Delivers to the network, through the host's resource `rid`. */
function hostSink(rid) {
  return {
    text: (text) => ops.op_websocket_send_text(rid, text),
    binary: (bytes) => ops.op_websocket_send_binary(rid, bytes),
    close: (code, reason) => ops.op_websocket_close(rid, code ?? NO_STATUS, reason ?? ""),
    buffered: () => ops.op_websocket_buffered(rid),
  };
}

/** Hands everything the host reads to an end, until the connection is closed. */
async function pump(rid, end) {
  for (;;) {
    const message = await ops.op_websocket_next(rid);
    end.receive(message);
    if (message.code !== undefined) break;
  }
  core.tryClose(rid);
}

/** Starts the pump as part of the current event, which lasts as long as the connection. */
function startPump(rid, end) {
  const invocation = currentInvocation();
  const done = pump(rid, end);
  if (invocation !== undefined && invocation.pending > 0) invocation.waitUntil(done);
}

/**
 * Gives an end to the client, for a response with status 101: the other end of its pair talks to the network then, or
 * the connection that fetch() opened goes on to the client. Answers with the host's resource for the response.
 */
function giveToHost(webSocket) {
  const given = webSocket[_end];
  if (given.accepted) {
    throw new TypeError("Can't return a WebSocket in a Response after calling accept() on it: accept the other end of the pair");
  }
  if (given.given) throw new TypeError("Can't return the same WebSocket in two responses");
  if (given.peer === null && given.rid === 0) {
    throw new TypeError("Only an end of a WebSocketPair, or the WebSocket of a fetched response, can be returned in a Response");
  }
  given.given = true;
  if (given.peer === null) return given.rid;
  const { ours, theirs } = ops.op_websocket_pair();
  const sink = hostSink(ours);
  // What the peer sent before it was connected waits in the end that is given away.
  for (const message of new SafeArrayIterator(given.waiting)) {
    if (message.text !== undefined) sink.text(message.text);
    else if (message.bytes !== undefined) sink.binary(message.bytes);
    else sink.close(message.code, message.reason);
  }
  given.peer.sink = sink;
  startPump(ours, given.peer);
  return theirs;
}

/** The WebSocket of a fetched response: must be accepted before messages arrive. */
function webSocketFromHost(rid) {
  const webSocket = new WebSocket(_unconnected);
  const end = webSocket[_end];
  end.rid = rid;
  end.sink = hostSink(rid);
  end.onAccept = () => startPump(rid, end);
  return webSocket;
}

function parseUrl(url) {
  let parsed;
  try {
    parsed = new URL(`${url}`);
  } catch {
    throw new DOMException(`"${url}" is not a URL that a WebSocket can connect to`, "SyntaxError");
  }
  if (parsed.protocol === "http:") parsed.protocol = "ws:";
  if (parsed.protocol === "https:") parsed.protocol = "wss:";
  if (parsed.protocol !== "ws:" && parsed.protocol !== "wss:") {
    throw new DOMException(`A WebSocket cannot connect to "${parsed.protocol}": use ws: or wss:`, "SyntaxError");
  }
  if (parsed.hash !== "") throw new DOMException("A WebSocket's URL may not have a fragment", "SyntaxError");
  return parsed.href;
}

function parseProtocols(protocols) {
  const list = typeof protocols === "string" ? [protocols] : [...new SafeArrayIterator(protocols)];
  const seen = new SafeSet();
  for (const protocol of new SafeArrayIterator(list)) {
    const key = StringPrototypeToLowerCase(`${protocol}`);
    if (primordials.RegExpPrototypeExec(HTTP_TOKEN_CODE_POINT_RE, key) === null) {
      throw new DOMException(`"${protocol}" is not a valid WebSocket protocol`, "SyntaxError");
    }
    if (SetPrototypeHas(seen, key)) throw new DOMException(`The WebSocket protocol "${protocol}" is listed twice`, "SyntaxError");
    SetPrototypeAdd(seen, key);
  }
  return list;
}

/** Connects an end for `new WebSocket(url)`: it accepts by itself. */
function connect(end, url, protocols) {
  end.url = url;
  end.state = CONNECTING;
  end.context = getAsyncContext();
  const opening = ops.op_websocket_connect(currentId(), url, protocols);
  const done = PromisePrototypeThen(opening, (opened) => {
    end.sink = hostSink(opened.rid);
    if (end.state === CLOSING) {
      end.sentClose = true;
      end.sink.close(1000, "");
    } else {
      end.state = OPEN;
      end.protocol = opened.protocol;
    }
    end.accepted = true;
    end.dispatch(new Event("open"));
    return pump(opened.rid, end);
  }, (error) => {
    end.state = CLOSED;
    end.dispatch(new ErrorEvent("error", { message: error.message, error }));
    end.dispatch(new CloseEvent("close", { code: ABNORMAL, reason: "", wasClean: false }));
  });
  currentInvocation()?.waitUntil(done);
}

/** A reply that the platform gives by itself to one message of hibernating WebSockets. */
class WebSocketRequestResponsePair {
  #request;
  #response;

  constructor(request, response) {
    this.#request = `${request}`;
    this.#response = `${response}`;
  }
  get request() {
    return this.#request;
  }
  get response() {
    return this.#response;
  }
}

defineInspect(WebSocket.prototype, (socket) => ({
  prefix: "WebSocket",
  properties: {
    readyState: socket.readyState,
    bufferedAmount: socket.bufferedAmount,
    url: socket.url,
    protocol: socket.protocol,
    extensions: socket.extensions,
    binaryType: socket.binaryType,
  },
}));

export { giveToHost, WebSocket, WebSocketPair, webSocketFromHost, WebSocketRequestResponsePair };
