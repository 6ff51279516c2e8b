// Events in, answers out: finds the Worker's handlers and calls them. The host calls the functions of `dispatcher`.
// https://developers.cloudflare.com/workers/runtime-apis/handlers/

import { core, primordials } from "ext:core/mod.js";
import { describeError, enterInvocation, Invocation, setOver } from "ext:skep_web/context.js";
import { _encodeBody, _webSocket, denoResponse, incomingRequest, isResponse, takeStaticBytes } from "ext:skep_web/http.js";
import { knownLength, resourceOf } from "ext:skep_web/streams.js";
import { giveToHost } from "ext:skep_web/websocket.js";
import { defineInspect } from "ext:skep_web/console.js";

const {
  ArrayPrototypePush,
  Date,
  Error,
  JSONParse,
  ObjectDefineProperty,
  ObjectFreeze,
  ObjectKeys,
  ObjectPrototypeIsPrototypeOf,
  PromisePrototypeThen,
  PromiseResolve,
  ReflectApply,
  ReflectConstruct,
  ReflectDeleteProperty,
  SafeArrayIterator,
  SafeMap,
  SafeMapIterator,
  SafeSet,
  SymbolToStringTag,
  TypeError,
} = primordials;
const ops = core.ops;

const streams = core.loadExtScript("ext:deno_web/06_streams.js");
const { InnerBody } = core.loadExtScript("ext:deno_fetch/22_body.js");
const { Event, setIsTrusted } = core.loadExtScript("ext:deno_web/02_event.js");

// The context argument of handlers

const _construct = primordials.Symbol("construct");

class ExecutionContext {
  #invocation;

  constructor(brand, invocation) {
    if (brand !== _construct) throw new TypeError("Illegal constructor");
    this.#invocation = invocation;
  }

  /** Keeps the event alive until a promise is settled. */
  waitUntil(promise) {
    if (arguments.length === 0) throw new TypeError("waitUntil() needs a promise");
    this.#invocation.waitUntil(promise);
  }

  /** If the handler throws, the request goes on to the origin instead of being answered with an error. */
  passThroughOnException() {
    this.#invocation.passThrough = true;
  }

  get props() {
    return this.#invocation.props;
  }

  /** The Worker's own entrypoints, as bindings. https://developers.cloudflare.com/workers/runtime-apis/context/#exports */
  get exports() {
    return loopback;
  }
}

/** What `ctx.exports` holds: filled when the modules are loaded. */
const loopback = {};
let makeLoopback = () => undefined;

/** Hands over what makes the binding of one's own entrypoint of a name. */
function setMakeLoopback(make) {
  makeLoopback = make;
}

defineInspect(ExecutionContext.prototype, (context) => ({ prefix: "ExecutionContext", properties: { props: context.props } }));

ObjectDefineProperty(ExecutionContext.prototype, SymbolToStringTag, { __proto__: null, value: "ExecutionContext", configurable: true });

// Entrypoints as classes

class WorkerEntrypoint {
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}

// What the Worker exports

/** Where its handlers are: `{ object }` or `{ Class }` by the name of the export. */
const entrypoints = new SafeMap();
let env = {};

/** Takes the namespace of the Worker's main module. Gives the names of the handlers of its default export. */
function setModule(namespace, bindings) {
  env = bindings;
  for (const name of new SafeArrayIterator(ObjectKeys(namespace))) {
    const value = namespace[name];
    if (typeof value === "function" && ObjectPrototypeIsPrototypeOf(WorkerEntrypoint.prototype, value.prototype)) {
      entrypoints.set(name, { Class: value });
    } else if (typeof value === "object" && value !== null) {
      entrypoints.set(name, { object: value });
    } else if (typeof value === "function" && name === "default") {
      entrypoints.set(name, { Class: value });
    }
  }
  for (const name of new SafeMapIterator(entrypoints)) loopback[name[0]] = makeLoopback(name[0]);
  return handlerNames(entrypoints.get("default"));
}

/** Forgets the module that was set last, for another one. */
function forgetModule() {
  for (const name of new SafeMapIterator(entrypoints)) ReflectDeleteProperty(loopback, name[0]);
  entrypoints.clear();
  env = {};
}

const HANDLERS = ["fetch", "scheduled", "queue", "tail", "alarm", "email", "trace", "test"];

function handlerNames(entrypoint) {
  const holder = entrypoint?.object ?? entrypoint?.Class?.prototype;
  const names = [];
  for (const name of new SafeArrayIterator(HANDLERS)) {
    if (typeof holder?.[name] === "function") ArrayPrototypePush(names, name);
  }
  return names;
}

/** The Worker is a classic script: its handlers are listeners of global events, its bindings are globals. */
function setServiceWorker(listenerCount) {
  const names = [];
  for (const name of new SafeArrayIterator(HANDLERS)) {
    if (listenerCount(name) > 0) ArrayPrototypePush(names, name);
  }
  serviceWorker = names.length > 0;
  return names;
}

let serviceWorker = false;
let dispatchGlobalEvent = () => {};

/** Gives the function that dispatches an event on the global object. */
function setDispatchGlobalEvent(dispatch) {
  dispatchGlobalEvent = dispatch;
}

/** The entrypoint of a name; the default one has none. */
function entrypointOf(name) {
  const entrypoint = entrypoints.get(name === "" ? "default" : name);
  if (entrypoint === undefined) throw new NoHandler(`The Worker has no entrypoint "${name}": export it from the main module`);
  return entrypoint;
}

/** What answers the calls of a session: an `instance` of a class, or an `object` with the arguments that its functions get. */
function receiverOf(invocation, entrypointName) {
  const entrypoint = entrypointOf(entrypointName);
  const context = new ExecutionContext(_construct, invocation);
  if (entrypoint.object !== undefined) return { object: entrypoint.object, env, context };
  return { instance: ReflectConstruct(entrypoint.Class, [context, env]) };
}

/** Calls a handler. Throws what it throws, and an error with a hint when there is none. */
function callHandler(invocation, entrypointName, handler, argument) {
  const entrypoint = entrypointOf(entrypointName);
  const context = new ExecutionContext(_construct, invocation);
  if (entrypoint.object !== undefined) {
    const method = entrypoint.object[handler];
    if (typeof method !== "function") throw noHandler(handler);
    return ReflectApply(method, entrypoint.object, [argument, env, context]);
  }
  const instance = ReflectConstruct(entrypoint.Class, [context, env]);
  if (typeof instance[handler] !== "function") throw noHandler(handler);
  return instance[handler](argument);
}

class NoHandler extends Error {}

function noHandler(handler) {
  return new NoHandler(
    `Handler does not export a ${handler}() function. Add one to the default export: export default { async ${handler}(...) { ... } }`,
  );
}

// fetch

function dispatchFetch(id, entrypoint, method, bodyRid, props) {
  const invocation = new Invocation(id, props === "" ? {} : JSONParse(props));
  enterInvocation(invocation);
  try {
    const request = makeRequest(id, method, bodyRid);
    const result = serviceWorker ? callFetchListeners(invocation, request) : callHandler(invocation, entrypoint, "fetch", request);
    if (isResponse(result)) {
      respond(invocation, result);
    } else {
      PromisePrototypeThen(PromiseResolve(result), (response) => respond(invocation, response), (error) => fail(invocation, error));
    }
  } catch (error) {
    fail(invocation, error);
  }
}

/** Requests whose `signal` was asked for: told when the client goes away. */
const cancelCallbacks = new SafeMap();
/** How many those are. */
let cancelable = 0;

/** An inner request's `onCancel`. */
function onCancel(callback) {
  cancelCallbacks.set(this.id, callback);
  cancelable += 1;
}

function takeCancelCallback(id) {
  if (cancelable === 0) return undefined;
  const callback = cancelCallbacks.get(id);
  if (callback !== undefined) {
    cancelCallbacks.delete(id);
    cancelable -= 1;
  }
  return callback;
}

function makeRequest(id, method, bodyRid) {
  const body = bodyRid === 0 ? null : new InnerBody(streams.readableStreamForRid(bodyRid));
  return incomingRequest(id, method, body, onCancel);
}

/** The client of a fetch event went away. */
function cancel(id) {
  takeCancelCallback(id)?.();
}

/** Events whose response is being streamed. */
const streaming = new SafeSet();

/** A response was streamed to its end, or until its client went away. */
function streamed(id, abandoned) {
  streaming.delete(id);
  const callback = takeCancelCallback(id);
  if (abandoned) callback?.();
}

setOver((id) => {
  if (!streaming.has(id)) takeCancelCallback(id);
});

function respond(invocation, response) {
  try {
    if (!isResponse(response)) throw notAResponse(response);
    sendResponse(invocation.id, response);
  } catch (error) {
    fail(invocation, error);
    return;
  }
  invocation.release();
}

function notAResponse(value) {
  const what = value === undefined ? "nothing" : value === null ? "null" : `a value of type ${typeof value}`;
  return new TypeError(`The fetch handler returned ${what}, not a Response. Return one: return new Response("...").`);
}

const ENCODE_AUTOMATICALLY = 1;
const KEEP_ENCODING = 0;

function sendResponse(id, response) {
  const fastBody = response[denoResponse.serveFastBodyKey];
  if (fastBody !== null && response[_webSocket] === undefined && !denoResponse.responseBodyUsed(response)) {
    const kind = response[denoResponse.serveFastHeaderKindKey];
    if (kind !== denoResponse.SERVE_FAST_HEADER_NONE) {
      const type = kind === denoResponse.SERVE_FAST_HEADER_DEFAULT_TEXT ? "text/plain;charset=UTF-8" : response[denoResponse.serveFastContentTypeKey];
      response[denoResponse.serveFastConsumedKey] = true;
      if (typeof fastBody === "string") ops.op_respond_text(id, type, fastBody);
      else ops.op_respond(id, 200, "", ["content-type", type], fastBody, KEEP_ENCODING, 0);
      return;
    }
  }
  const inner = denoResponse.toInnerResponse(response);
  if (inner.type === "error") throw new TypeError("The fetch handler returned Response.error(), which stands for a network error. Return a Response with a status instead.");
  const headers = [];
  const list = response[_encodeBody] === "manual" ? inner.headerList : denoResponse.wireHeaderList(inner);
  for (const header of new SafeArrayIterator(list)) ArrayPrototypePush(headers, header[0], header[1]);
  const encode = response[_encodeBody] === "manual" ? KEEP_ENCODING : ENCODE_AUTOMATICALLY;
  const webSocket = response[_webSocket] === undefined ? 0 : giveToHost(response[_webSocket]);
  if (inner.status === 101 && webSocket === 0) {
    throw new TypeError("A response with status 101 needs a WebSocket: new Response(null, { status: 101, webSocket: client })");
  }
  const body = inner.body;
  if (body === null) {
    ops.op_respond(id, inner.status, inner.statusMessage, headers, null, KEEP_ENCODING, webSocket);
    return;
  }
  if (body.unusable()) {
    throw new TypeError("Body has already been used. It can only be used once. Use tee() first if you need to read it twice, or return response.clone().");
  }
  const source = body.streamOrStatic;
  const data = takeBytes(source);
  if (data !== undefined) {
    ops.op_respond(id, inner.status, inner.statusMessage, headers, data, encode, webSocket);
    return;
  }
  const length = knownLength(source) ?? body.length ?? -1;
  streaming.add(id);
  ops.op_respond_stream(id, inner.status, inner.statusMessage, headers, resourceOf(source), encode, length);
}

/** The bytes of a body that is not a stream, or was made one and not read; else undefined. */
function takeBytes(source) {
  if (ObjectPrototypeIsPrototypeOf(streams.ReadableStreamPrototype, source)) return takeStaticBytes(source);
  source.consumed = true;
  return typeof source.body === "string" ? core.encode(source.body) : source.body;
}

function fail(invocation, error) {
  const { name, message, stack } = describeError(error);
  takeCancelCallback(invocation.id);
  ops.op_event_failed(invocation.id, name, message, stack, ObjectPrototypeIsPrototypeOf(NoHandler.prototype, error));
  invocation.release();
}

// Service worker syntax

/** What an event holds for the platform alone. */
let invocationOf;
let responseOf;

class ExtendableEvent extends Event {
  #invocation;

  constructor(type, init = {}) {
    super(type, init);
    this.#invocation = init.invocation;
  }
  waitUntil(promise) {
    if (this.#invocation === undefined) throw new TypeError("waitUntil() works on events of the platform only");
    this.#invocation.waitUntil(promise);
  }
  static {
    invocationOf = (event) => event.#invocation;
  }
}

class FetchEvent extends ExtendableEvent {
  #request;
  #response;

  constructor(type, init) {
    super(type, init);
    this.#request = init.request;
  }
  get request() {
    return this.#request;
  }
  respondWith(response) {
    if (this.#response !== undefined) throw new TypeError("FetchEvent.respondWith() has already been called; it can only be called once.");
    this.#response = PromiseResolve(response);
    this.stopImmediatePropagation();
  }
  passThroughOnException() {
    invocationOf(this).passThrough = true;
  }
  static {
    responseOf = (event) => event.#response;
  }
}

class ScheduledEvent extends ExtendableEvent {
  #scheduledTime;
  #cron;

  constructor(type, init) {
    super(type, init);
    this.#scheduledTime = init.scheduledTime;
    this.#cron = init.cron;
  }
  get scheduledTime() {
    return this.#scheduledTime;
  }
  get cron() {
    return this.#cron;
  }
  noRetry() {}
}

class TailEvent extends ExtendableEvent {
  #events;

  constructor(type, init) {
    super(type, init);
    this.#events = init.events;
  }
  get events() {
    return this.#events;
  }
  get traces() {
    return this.#events;
  }
}

class TraceEvent extends TailEvent {}

function callFetchListeners(invocation, request) {
  const event = new FetchEvent("fetch", { invocation, request, cancelable: true });
  setIsTrusted(event, true);
  dispatchGlobalEvent(event);
  const response = responseOf(event);
  if (response === undefined) {
    throw new NoHandler("No fetch listener called event.respondWith(). Call it in addEventListener(\"fetch\", (event) => event.respondWith(...)).");
  }
  return response;
}

// scheduled, queue, tail

/** Runs a handler without a response. The host learns of the end through the event's release. */
function run(id, props, call) {
  const invocation = new Invocation(id, props);
  enterInvocation(invocation);
  try {
    PromisePrototypeThen(PromiseResolve(call(invocation)), (result) => {
      ops.op_event_returned(id, result ?? "");
      invocation.release();
    }, (error) => fail(invocation, error));
  } catch (error) {
    fail(invocation, error);
  }
}

function dispatchScheduled(id, entrypoint, scheduledTime, cron) {
  run(id, {}, async (invocation) => {
    if (serviceWorker) {
      const event = new ScheduledEvent("scheduled", { invocation, scheduledTime, cron });
      setIsTrusted(event, true);
      dispatchGlobalEvent(event);
      return;
    }
    const controller = named("ScheduledController", { scheduledTime, cron, type: "scheduled", noRetry() {} });
    await callHandler(invocation, entrypoint, "scheduled", controller);
  });
}

/** Defines a property that is not listed. */
function defineHidden(object, name, value) {
  ObjectDefineProperty(object, name, { __proto__: null, value, writable: true, configurable: true });
}

/** A plain object that shows the name of a class. */
function named(name, object) {
  return ObjectDefineProperty(object, SymbolToStringTag, { __proto__: null, value: name, configurable: true });
}

/**
 * One batch of a queue. `messages` is JSON: `[{ id, timestamp, attempts, contentType, body }]`, a body of type "bytes" in
 * base64. The answer, JSON too, says which are to be acknowledged or tried again.
 * https://developers.cloudflare.com/queues/configuration/javascript-apis/#messagebatch
 */
function dispatchQueue(id, entrypoint, queue, messages) {
  run(id, {}, async (invocation) => {
    const result = { ackAll: false, retryAll: null, acks: [], retries: [] };
    const batch = named("MessageBatch", {
      queue,
      messages: ObjectFreeze(queueMessages(JSONParse(messages), result)),
      ackAll() {
        if (result.retryAll === null) result.ackAll = true;
      },
      retryAll(options = undefined) {
        if (!result.ackAll) result.retryAll = { delaySeconds: options?.delaySeconds ?? 0 };
      },
    });
    await callHandler(invocation, entrypoint, "queue", batch);
    return primordials.JSONStringify(result);
  });
}

function queueMessages(list, result) {
  const messages = [];
  for (const { id, timestamp, attempts, contentType, body } of new SafeArrayIterator(list)) {
    let decided = false;
    const decide = (act) => {
      if (decided) return;
      decided = true;
      act();
    };
    ArrayPrototypePush(messages, named("Message", {
      id,
      timestamp: new Date(timestamp),
      attempts,
      body: contentType === "bytes" ? Uint8Array.fromBase64(body).buffer : body,
      ack: () => decide(() => ArrayPrototypePush(result.acks, id)),
      retry: (options = undefined) => decide(() => ArrayPrototypePush(result.retries, { id, delaySeconds: options?.delaySeconds ?? 0 })),
    }));
  }
  return messages;
}

/**
 * Events of other Workers, as JSON: `[{ item, unredacted }]`, the second what was left out of a request, or null.
 * https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/
 */
function dispatchTail(id, entrypoint, eventsJson) {
  run(id, {}, async (invocation) => {
    const events = [];
    for (const { item, unredacted } of new SafeArrayIterator(JSONParse(eventsJson))) {
      const request = item.event?.request;
      if (request) defineHidden(request, "getUnredacted", () => ({ ...request, ...unredacted }));
      ArrayPrototypePush(events, item);
    }
    if (serviceWorker) {
      const event = new TailEvent("tail", { invocation, events });
      setIsTrusted(event, true);
      dispatchGlobalEvent(event);
      return;
    }
    await callHandler(invocation, entrypoint, "tail", events);
  });
}

const dispatcher = { fetch: dispatchFetch, scheduled: dispatchScheduled, queue: dispatchQueue, tail: dispatchTail, cancel, streamed };

export {
  dispatcher,
  ExtendableEvent,
  FetchEvent,
  forgetModule,
  loopback,
  receiverOf,
  ScheduledEvent,
  setDispatchGlobalEvent,
  setMakeLoopback,
  setModule,
  setServiceWorker,
  takeBytes,
  TailEvent,
  TraceEvent,
  WorkerEntrypoint,
};
