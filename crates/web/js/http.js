// Request, Response and Headers as Workers have them: the platform's classes with `cf`, `webSocket`, `encodeBody` and
// Headers.getAll(). https://developers.cloudflare.com/workers/runtime-apis/request/ and .../response/
//
// The constructors wrap the platform's own and share their prototypes, so `instanceof` and subclasses work for objects
// from either side.

import { core, primordials } from "ext:core/mod.js";
import { defineInspect } from "ext:skep_web/console.js";
import { setKnownLength } from "ext:skep_web/streams.js";

const {
  ArrayPrototypeFilter,
  ArrayPrototypeMap,
  ArrayPrototypePush,
  FunctionPrototypeCall,
  JSONParse,
  ObjectDefineProperties,
  ObjectDefineProperty,
  ObjectGetOwnPropertyDescriptor,
  ObjectPrototypeIsPrototypeOf,
  RangeError,
  ReflectConstruct,
  SafeArrayIterator,
  SafeWeakMap,
  StringPrototypeToLowerCase,
  Symbol,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeSlice,
  TypeError,
  WeakMapPrototypeGet,
  WeakMapPrototypeSet,
} = primordials;

const denoRequest = core.loadExtScript("ext:deno_fetch/23_request.js");
const denoResponse = core.loadExtScript("ext:deno_fetch/23_response.js");
const denoHeaders = core.loadExtScript("ext:deno_fetch/20_headers.js");
const { Headers, headersEntries, guardFromHeaders } = denoHeaders;
const streams = core.loadExtScript("ext:deno_web/06_streams.js");
const { ReadableStream } = streams;
const { FormData } = core.loadExtScript("ext:deno_fetch/21_formdata.js");

const _cf = Symbol("cf");
const _webSocket = Symbol("webSocket");
const _encodeBody = Symbol("encodeBody");

/** Sees `WebSocket` once it is loaded: it is above this module. */
let isWebSocket = () => false;

function setIsWebSocket(predicate) {
  isWebSocket = predicate;
}

/** A constructor over a platform class, with its prototype and statics; `finish` sees each new object. */
function wrapClass(Class, name, parameters, prepare, finish) {
  const Wrapper = {
    [name]: function (...args) {
      if (new.target === undefined) {
        throw new TypeError(`Class constructor ${name} cannot be invoked without 'new'`);
      }
      const prepared = prepare(args);
      const object = ReflectConstruct(Class, prepared, new.target);
      finish(object, args);
      return object;
    },
  }[name];
  ObjectDefineProperty(Wrapper, "length", { __proto__: null, value: parameters, configurable: true });
  ObjectDefineProperty(Wrapper, "prototype", { __proto__: null, value: Class.prototype, writable: false });
  ObjectDefineProperty(Class.prototype, "constructor", { __proto__: null, value: Wrapper, writable: true, configurable: true });
  return Wrapper;
}

// Bodies. What was given as text or bytes becomes a stream only when somebody asks for `body`, and then a stream of
// bytes, which BYOB readers can read. Given to another response before it was read, it is text or bytes again, so that
// its length stays known.

const staticBodies = new SafeWeakMap();

function streamOf(inner) {
  const body = inner.body;
  if (body === null) return null;
  const source = body.streamOrStatic;
  if (ObjectPrototypeIsPrototypeOf(ReadableStream.prototype, source) || source.consumed) return body.stream;
  const bytes = typeof source.body === "string" ? core.encode(source.body) : source.body;
  const stream = new ReadableStream({
    type: "bytes",
    pull(controller) {
      if (TypedArrayPrototypeGetByteLength(bytes) > 0) controller.enqueue(TypedArrayPrototypeSlice(bytes));
      controller.close();
      controller.byobRequest?.respond(0);
    },
  }, { highWaterMark: 0 });
  setKnownLength(stream, TypedArrayPrototypeGetByteLength(bytes));
  WeakMapPrototypeSet(staticBodies, stream, bytes);
  body.streamOrStatic = stream;
  return stream;
}

/** Takes the bytes out of a stream that was made of them, if nobody has read from it. The stream is used up then. */
function takeStaticBytes(stream) {
  const bytes = WeakMapPrototypeGet(staticBodies, stream);
  if (bytes === undefined || stream.locked || streams.isReadableStreamDisturbed(stream)) return undefined;
  streams.acquireReadableStreamDefaultReader(stream);
  streams.readableStreamDisturb(stream);
  return bytes;
}

/** The arguments of a constructor, with the bytes in place of a stream that was made of them and not read. */
function withStaticBody(args) {
  const stream = args[0];
  if (typeof stream !== "object" || stream === null) return args;
  const bytes = takeStaticBytes(stream);
  return bytes === undefined ? args : [bytes, args[1]];
}

// Request

const RequestPrototype = denoRequest.RequestPrototype;

const Request = wrapClass(denoRequest.Request, "Request", 1, (args) => args, (request, args) => {
  const { 0: input, 1: init } = args;
  const cf = init?.cf ?? (isRequest(input) ? input.cf : undefined);
  if (cf !== undefined) request[_cf] = cf;
});

function isRequest(value) {
  return ObjectPrototypeIsPrototypeOf(RequestPrototype, value);
}

const requestClone = RequestPrototype.clone;

ObjectDefineProperties(RequestPrototype, {
  cf: accessor("cf", function () {
    const cf = this[_cf];
    return typeof cf === "number" ? (this[_cf] = JSONParse(core.ops.op_request_cf(cf))) : cf;
  }),
  body: accessor("body", function () {
    return streamOf(denoRequest.toInnerRequest(this));
  }),
  fetcher: accessor("fetcher", () => null),
  clone: method("clone", function () {
    const clone = FunctionPrototypeCall(requestClone, this);
    const cf = this.cf;
    if (cf !== undefined) clone[_cf] = cf;
    return clone;
  }),
});

/** The platform's inner request of an incoming HTTP request. The host is asked for the URL and the headers when they are needed. */
class IncomingInner {
  id;
  method;
  body;
  redirectMode = "manual";
  redirectCount = 0;
  clientRid = null;
  blobUrlEntry = null;
  onCancel;
  #url;
  #headerList;
  #urlList;
  #urlListProcessed;

  constructor(id, method, body, onCancel) {
    this.id = id;
    this.method = method;
    this.body = body;
    this.onCancel = onCancel;
  }
  get headerList() {
    return this.#headerList ??= pairs(core.ops.op_request_headers(this.id));
  }
  set headerList(list) {
    this.#headerList = list;
  }
  get urlList() {
    return this.#urlList ??= [() => this.url()];
  }
  get urlListProcessed() {
    return this.#urlListProcessed ??= [this.url()];
  }
  url() {
    return this.#url ??= core.ops.op_request_url(this.id);
  }
  currentUrl() {
    if (this.#urlList === undefined || this.#urlList.length === 1) return this.url();
    const last = this.#urlList.length - 1;
    return this.urlListProcessed[last] ??= this.#urlList[last]();
  }
}

function pairs(flat) {
  const list = [];
  for (let index = 0; index < flat.length; index += 2) ArrayPrototypePush(list, [flat[index], flat[index + 1]]);
  return list;
}

/** A Request for an incoming HTTP request. `onCancel` takes a function to call when the client goes away. */
function incomingRequest(id, method, body, onCancel) {
  const request = denoRequest.fromInnerRequest(new IncomingInner(id, method, body, onCancel), "immutable");
  request[_cf] = id;
  return request;
}

// Response

const ResponsePrototype = denoResponse.ResponsePrototype;

function prepareResponse(args) {
  args = withStaticBody(args);
  const init = args[1];
  if (init === undefined || init === null) return args;
  // An empty text is as good as no body where there may be none.
  if (args[0] === "" && denoResponse.nullBodyStatus(init.status)) args = [null, init];
  const webSocket = init.webSocket ?? null;
  if (webSocket !== null) {
    if (!isWebSocket(webSocket)) throw new TypeError("`webSocket` must be a WebSocket, one end of a WebSocketPair");
    if (init.status !== 101) throw new RangeError("Responses with a WebSocket must have status code 101.");
  } else if (init.status === 101) {
    throw new RangeError("A response with status 101 needs a WebSocket: new Response(null, { status: 101, webSocket: client })");
  }
  const encodeBody = init.encodeBody;
  if (encodeBody !== undefined && encodeBody !== "automatic" && encodeBody !== "manual") {
    throw new TypeError(`encodeBody: unexpected value: ${encodeBody}. Use "automatic" or "manual".`);
  }
  return args;
}

const Response = wrapClass(denoResponse.Response, "Response", 0, prepareResponse, (response, args) => {
  const init = args[1];
  if (init === undefined || init === null) return;
  if (init.webSocket !== undefined && init.webSocket !== null) response[_webSocket] = init.webSocket;
  if (init.cf !== undefined) response[_cf] = init.cf;
  if (init.encodeBody === "manual") response[_encodeBody] = "manual";
  // A copy of a fetched response keeps the headers of the encoded body, while its body was decoded.
  if (init[_decodedMark]?.()) denoResponse.getInnerResponse(response).bodyDecoded = true;
});

const _decodedMark = Symbol("body was decoded");

ObjectDefineProperty(ResponsePrototype, _decodedMark, {
  __proto__: null,
  value() {
    return denoResponse.getInnerResponse(this)?.bodyDecoded === true;
  },
});

for (const name of ["json", "redirect", "error"]) {
  ObjectDefineProperty(Response, name, ObjectGetOwnPropertyDescriptor(denoResponse.Response, name));
}

function isResponse(value) {
  return ObjectPrototypeIsPrototypeOf(ResponsePrototype, value);
}

const responseClone = ResponsePrototype.clone;

ObjectDefineProperties(ResponsePrototype, {
  cf: accessor("cf", function () {
    return this[_cf];
  }),
  body: accessor("body", function () {
    return streamOf(denoResponse.toInnerResponse(this));
  }),
  webSocket: accessor("webSocket", function () {
    return this[_webSocket] ?? null;
  }),
  clone: method("clone", function () {
    if (this[_webSocket] !== undefined) throw new TypeError("Cannot clone a response to a WebSocket handshake.");
    const clone = FunctionPrototypeCall(responseClone, this);
    if (this[_cf] !== undefined) clone[_cf] = this[_cf];
    return clone;
  }),
});

// Headers

ObjectDefineProperty(Headers.prototype, "getAll", method("getAll", function (name) {
  if (StringPrototypeToLowerCase(`${name}`) !== "set-cookie") {
    throw new TypeError('getAll() can only be used with the header name "Set-Cookie": use get() for any other header');
  }
  return this.getSetCookie();
}));

// How they are shown

defineInspect(Headers.prototype, (headers) => {
  const entries = ArrayPrototypeMap(headersEntries(headers), (entry) => [entry[0], entry[1]]);
  return {
    prefix: `Headers(${entries.length})`,
    entries,
    properties: { "[immutable]": guardFromHeaders(headers) === "immutable" },
  };
});

function pick(object, names) {
  const properties = {};
  for (const name of new SafeArrayIterator(names)) properties[name] = object[name];
  return properties;
}

defineInspect(RequestPrototype, (request) => ({
  prefix: "Request",
  properties: pick(request, ["method", "url", "headers", "redirect", "fetcher", "signal", "cf", "integrity", "keepalive", "cache", "body", "bodyUsed"]),
}));

defineInspect(ResponsePrototype, (response) => ({
  prefix: "Response",
  properties: pick(response, ["status", "statusText", "headers", "ok", "redirected", "url", "webSocket", "cf", "type", "body", "bodyUsed"]),
}));

defineInspect(FormData.prototype, (form) => {
  const entries = [...form];
  return { prefix: `FormData(${entries.length})`, entries };
});

/** `Body` is a name that Workers show: what Request and Response have in common. */
class Body {
  constructor() {
    throw new TypeError("Illegal constructor");
  }
}

function accessor(name, get) {
  ObjectDefineProperty(get, "name", { __proto__: null, value: `get ${name}`, configurable: true });
  return { __proto__: null, get, enumerable: true, configurable: true };
}

function method(name, value) {
  ObjectDefineProperty(value, "name", { __proto__: null, value: name, configurable: true });
  return { __proto__: null, value, writable: true, enumerable: true, configurable: true };
}

/** A header list without the headers of those names (lower case). */
function withoutHeaders(list, names) {
  return ArrayPrototypeFilter(list, (header) => !names[StringPrototypeToLowerCase(header[0])]);
}

export {
  _cf,
  _encodeBody,
  _webSocket,
  Body,
  denoRequest,
  denoResponse,
  FormData,
  Headers,
  incomingRequest,
  isRequest,
  isResponse,
  pick,
  Request,
  Response,
  setIsWebSocket,
  takeStaticBytes,
  withoutHeaders,
};
