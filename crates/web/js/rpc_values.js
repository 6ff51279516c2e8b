// Values on their way to another isolate: structured clone, and beyond it what only RPC can pass on. Functions, RpcTargets
// and stubs arrive as stubs, streams stay streams, and Request, Response, Headers, errors and service bindings are made anew.
// https://developers.cloudflare.com/workers/runtime-apis/rpc/
//
// A value is copied before V8 serialises it: the copy has no prototypes, getters or proxies, so no code of the Worker runs while it is
// read. What structured clone cannot carry is a place in the copy with the number of an entry beside it. The
// entries are made here alone: a Worker that imitates such a place can only point to an entry it was sending anyway.

import { core, primordials } from "ext:core/mod.js";
import { takeBytes } from "ext:skep_web/events.js";
import { _cf, _encodeBody, _webSocket, denoRequest, denoResponse, Headers, isRequest, isResponse, Request, Response } from "ext:skep_web/http.js";
import { CLASSES, makeError, setProperty } from "ext:skep_web/rpc_errors.js";
import { makeFetcher, targets } from "ext:skep_web/services.js";
import { bytesOf, knownLength, resourceOf } from "ext:skep_web/streams.js";

const {
  ArrayBufferIsView,
  ArrayIsArray,
  ArrayPrototypePush,
  DataViewPrototypeGetBuffer,
  Error,
  JSONParse,
  JSONStringify,
  ObjectGetOwnPropertyNames,
  ObjectGetPrototypeOf,
  ObjectKeys,
  ObjectPrototype,
  ObjectPrototypeIsPrototypeOf,
  ObjectSetPrototypeOf,
  PromisePrototypeThen,
  SafeArrayIterator,
  SafeMap,
  SafeMapIterator,
  SafeSet,
  SafeSetIterator,
  SymbolPrototypeToString,
  TypedArrayPrototypeGetBuffer,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeGetSymbolToStringTag,
  TypeError,
  WeakMapPrototypeGet,
} = primordials;
const ops = core.ops;

const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");
const streams = core.loadExtScript("ext:deno_web/06_streams.js");
const { InnerBody } = core.loadExtScript("ext:deno_fetch/22_body.js");
const { ReadableStream, WritableStream } = streams;

/** The most bytes that one call's arguments, or its result, may have. */
const MOST_BYTES = 32 * 1024 * 1024;
const NOTHING = new Uint8Array(0);

/** How places in a copy are marked for the host's serialiser, and how they are found again. */
const PLACE = "SkepRpc";

/** What objects are passed by reference: set by `rpc_stubs.js`. */
let isRpcTarget = () => false;
let stubOf = () => undefined;

function setReferences(isTarget, stub) {
  isRpcTarget = isTarget;
  stubOf = stub;
}

function dataCloneError(message) {
  return new DOMException(message, "DataCloneError");
}

/** The name of an object's class, for a message. */
function className(value) {
  try {
    const { name } = value.constructor;
    if (typeof name === "string" && name !== "") return name;
  } catch {
    // A getter of the Worker's threw, or there is no constructor.
  }
  return "Object";
}

function cannotSerialize(name) {
  return dataCloneError(`Could not serialize object of type "${name}". This type does not support serialization.`);
}

/** Makes one value ready to be sent in a session. */
class Packer {
  /** `[kind, ...]` for each place in the copy. */
  entries = [];
  /** The host's resources behind streams. */
  attachments = [];
  /** Ids of what was exported to the other side. */
  exported = [];
  /** Stubs that now belong to the other side. */
  given = [];
  #session;
  #copies = new SafeMap();

  constructor(session) {
    this.#session = session;
  }

  pack(value) {
    try {
      const payload = core.serialize(this.copy(value), undefined, (message) => {
        throw dataCloneError(message);
      });
      const size = TypedArrayPrototypeGetByteLength(payload);
      if (size > MOST_BYTES) {
        throw new Error(`Serialized RPC arguments or return values are limited to 32MiB, but the size of this value was: ${size} bytes.`);
      }
      return payload;
    } catch (error) {
      this.undo();
      throw error;
    }
  }

  /** The value cannot be sent: what was prepared for it goes. */
  undo() {
    for (const id of new SafeArrayIterator(this.exported)) this.#session.forget(id);
    for (const rid of new SafeArrayIterator(this.attachments)) core.tryClose(rid);
  }

  /** A place in the copy, for an entry; `value` goes along, copied already. */
  place(entry, value = undefined) {
    const index = ArrayPrototypePush(this.entries, entry) - 1;
    return { __proto__: null, [core.hostObjectBrand]: () => ({ __proto__: null, type: PLACE, index, value }) };
  }

  copy(value) {
    switch (typeof value) {
      case "object":
        if (value === null) return null;
        break;
      case "function":
        break;
      case "symbol":
        throw dataCloneError(`${SymbolPrototypeToString(value)} could not be cloned.`);
      default:
        return value;
    }
    const known = this.#copies.get(value);
    if (known !== undefined) return known;
    return this.copyObject(value);
  }

  remember(value, copy) {
    this.#copies.set(value, copy);
    return copy;
  }

  copyObject(value) {
    const target = WeakMapPrototypeGet(targets, value);
    if (target !== undefined) return this.remember(value, this.fetcher(target));
    if (typeof value === "function") return this.remember(value, this.reference(value));
    if (ArrayIsArray(value)) return this.array(value);
    if (core.isMap(value)) return this.map(value);
    if (core.isSet(value)) return this.set(value);
    if (ArrayBufferIsView(value)) {
      const tag = TypedArrayPrototypeGetSymbolToStringTag(value);
      if (core.isSharedArrayBuffer(tag === undefined ? DataViewPrototypeGetBuffer(value) : TypedArrayPrototypeGetBuffer(value))) {
        throw cannotSerialize("SharedArrayBuffer");
      }
      return value;
    }
    if (core.isArrayBuffer(value) || core.isDate(value) || core.isRegExp(value) || core.isBoxedPrimitive(value)) return value;
    if (core.isNativeError(value) || ObjectPrototypeIsPrototypeOf(DOMException.prototype, value)) return this.error(value);
    if (ObjectGetPrototypeOf(value) === ObjectPrototype) return this.plain(value);
    if (isRpcTarget(value)) return this.remember(value, this.reference(value));
    return this.remember(value, this.platformObject(value));
  }

  plain(value) {
    const copy = this.remember(value, { __proto__: null });
    for (const key of new SafeArrayIterator(ObjectKeys(value))) copy[key] = this.copy(value[key]);
    return copy;
  }

  array(value) {
    const copy = this.remember(value, ObjectSetPrototypeOf([], null));
    const { length } = value;
    for (let index = 0; index < length; index++) copy[index] = this.copy(value[index]);
    return copy;
  }

  map(value) {
    const copy = this.remember(value, new SafeMap());
    for (const { 0: key, 1: entry } of new SafeMapIterator(value)) copy.set(this.copy(key), this.copy(entry));
    return copy;
  }

  set(value) {
    const copy = this.remember(value, new SafeSet());
    for (const entry of new SafeSetIterator(value)) copy.add(this.copy(entry));
    return copy;
  }

  /** A function, an RpcTarget or a stub: the other side gets a stub of it. */
  reference(value) {
    const stub = stubOf(value);
    if (stub === null) throw cannotSerialize(className(value));
    if (stub !== undefined) ArrayPrototypePush(this.given, value);
    const id = this.#session.export(stub === undefined ? value : value.dup());
    ArrayPrototypePush(this.exported, id);
    return this.place(["stub", id]);
  }

  fetcher({ worker, entrypoint, props }) {
    if (worker === "") throw dataCloneError("The binding of static assets cannot be passed on: pass the responses it gives");
    return this.place(["fetcher", worker, entrypoint, props]);
  }

  /** An error without its stack, which shows the sources of its Worker. */
  error(value) {
    const isDom = ObjectPrototypeIsPrototypeOf(DOMException.prototype, value);
    const name = isDom ? value.name : standardClass(value);
    const properties = { __proto__: null };
    const entry = ["error", name, `${value.message}`, isDom];
    const place = this.remember(value, this.place(entry, properties));
    if (isDom) return place;
    for (const key of new SafeArrayIterator(ObjectGetOwnPropertyNames(value))) {
      if (key !== "stack" && key !== "message") properties[key] = this.copy(value[key]);
    }
    if (properties.name === undefined && value.name !== name) properties.name = `${value.name}`;
    return place;
  }

  platformObject(value) {
    if (ObjectPrototypeIsPrototypeOf(Headers.prototype, value)) return this.place(["headers", flat(value)]);
    if (isRequest(value)) return this.request(value);
    if (isResponse(value)) return this.response(value);
    if (ObjectPrototypeIsPrototypeOf(ReadableStream.prototype, value)) {
      return this.place(["readable", this.source(value), knownLength(value)]);
    }
    if (ObjectPrototypeIsPrototypeOf(WritableStream.prototype, value)) return this.place(["writable", this.sink(value)]);
    throw cannotSerialize(className(value));
  }

  request(value) {
    const inner = denoRequest.toInnerRequest(value);
    const { cf } = value;
    const entry = ["request", inner.method, inner.url(), flat(value.headers), this.body(inner.body), inner.redirectMode];
    ArrayPrototypePush(entry, cf === undefined || cf === null ? "" : JSONStringify(cf) ?? "");
    return this.place(entry);
  }

  response(value) {
    if (value[_webSocket] !== undefined) throw dataCloneError("A Response with a WebSocket cannot be passed over RPC: use fetch() of the binding");
    const inner = denoResponse.toInnerResponse(value);
    if (inner.type === "error") throw dataCloneError("Response.error() cannot be passed over RPC");
    const entry = ["response", inner.status, inner.statusMessage, flat(value.headers), this.body(inner.body)];
    ArrayPrototypePush(entry, value[_encodeBody] ?? "", inner.bodyDecoded === true);
    return this.place(entry);
  }

  /** A body as null, as bytes, or as `[attachment, length]`. */
  body(body) {
    if (body === null) return null;
    if (body.unusable()) {
      throw new TypeError("Body has already been used. It can only be used once. Use tee() first if you need to read it twice, or pass a clone().");
    }
    const source = body.streamOrStatic;
    const bytes = takeBytes(source);
    if (bytes !== undefined) return bytes;
    return [this.source(source), knownLength(source) ?? body.length ?? undefined];
  }

  /** Hands a stream over to be read. Gives the number of its attachment. */
  source(stream) {
    if (stream.locked) throw new TypeError("A ReadableStream that is locked to a reader cannot be passed over RPC");
    const { attachment, sent } = ops.op_rpc_source(resourceOf(stream));
    this.#session.track(ops.op_rpc_sent(sent));
    return ArrayPrototypePush(this.attachments, attachment) - 1;
  }

  /** Hands a stream over to be written. Gives the number of its attachment. */
  sink(stream) {
    if (stream.locked) throw new TypeError("A WritableStream that is locked to a writer cannot be passed over RPC");
    const { attachment, body } = ops.op_rpc_sink();
    // Who writes learns of an error of this side from its own writes.
    this.#session.track(streams.readableStreamForRid(body).pipeTo(stream));
    return ArrayPrototypePush(this.attachments, attachment) - 1;
  }
}

/** The names and values of headers in turn. */
function flat(headers) {
  const list = [];
  for (const { 0: name, 1: value } of headers) ArrayPrototypePush(list, name, value);
  return list;
}

function pairs(list) {
  const made = [];
  for (let index = 0; index < list.length; index += 2) ArrayPrototypePush(made, [list[index], list[index + 1]]);
  return made;
}

/** The nearest class of an error that the language itself has. */
function standardClass(error) {
  if (ObjectPrototypeIsPrototypeOf(primordials.AggregateError.prototype, error)) return "AggregateError";
  for (const name in CLASSES) {
    if (name !== "Error" && ObjectPrototypeIsPrototypeOf(CLASSES[name].prototype, error)) return name;
  }
  return "Error";
}

/** What came in a frame, as a value. Stubs in it are added to `stubs`. */
function unpack(session, payload, entries, attachments, stubs) {
  const made = [];
  const revive = ({ index, value }) => {
    const entry = entries[index];
    if (entry === undefined) throw new TypeError("The value names an object that did not come with it");
    return made[index] ??= make(session, entry, value, attachments, stubs);
  };
  return core.deserialize(payload, { deserializers: { __proto__: null, [PLACE]: revive } });
}

function make(session, entry, value, attachments, stubs) {
  switch (entry[0]) {
    case "stub": {
      const stub = session.importStub(entry[1]);
      ArrayPrototypePush(stubs, stub);
      return stub;
    }
    case "error":
      return reviveError(entry, value);
    case "headers":
      return new Headers(pairs(entry[1]));
    case "request":
      return reviveRequest(entry, attachments);
    case "response":
      return reviveResponse(entry, attachments);
    case "readable":
      return streams.readableStreamForRid(attachments[entry[1]]);
    case "writable":
      return writableFor(attachments[entry[1]]);
    default:
      return makeFetcher(entry[1], entry[2], entry[3]);
  }
}

function reviveError({ 1: name, 2: message, 3: isDom }, properties) {
  if (isDom) return new DOMException(message, name);
  const error = makeError(name, message);
  for (const key of new SafeArrayIterator(ObjectKeys(properties))) setProperty(error, key, properties[key]);
  return error;
}

/** A body for a constructor: bytes, a stream, or nothing. */
function reviveBody(body, attachments) {
  return ArrayIsArray(body) ? streams.readableStreamForRid(attachments[body[0]]) : body;
}

function reviveRequest({ 1: method, 2: url, 3: headers, 4: body, 5: redirect, 6: cf }, attachments) {
  const init = { __proto__: null, method, headers: pairs(headers), redirect, body: reviveBody(body, attachments) };
  if (cf !== "") init.cf = JSONParse(cf);
  return new Request(url, init);
}

function reviveResponse({ 1: status, 2: statusText, 3: headers, 4: body, 5: encodeBody, 6: decoded }, attachments) {
  const response = new Response(reviveBody(body, attachments), { __proto__: null, status, statusText, headers: pairs(headers) });
  if (encodeBody !== "") response[_encodeBody] = encodeBody;
  if (decoded) denoResponse.toInnerResponse(response).bodyDecoded = true;
  return response;
}

/** A stream whose bytes go to another isolate. */
function writableFor(rid) {
  return new WritableStream({
    write(chunk) {
      const bytes = typeof chunk === "string" ? core.encode(chunk) : bytesOf(chunk, "A WritableStream of another Worker");
      return ops.op_rpc_sink_write(rid, bytes);
    },
    close() {
      return ops.op_rpc_sink_end(rid, null);
    },
    abort(reason) {
      return ops.op_rpc_sink_end(rid, `${reason?.message ?? reason}`);
    },
  }, { highWaterMark: 1 });
}

export { NOTHING, Packer, setReferences, unpack };
