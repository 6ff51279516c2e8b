// The global scope of a Worker: what is on `globalThis`, and nothing else, and how a version starts in it.
// https://developers.cloudflare.com/workers/runtime-apis/web-standards/
//
// All of this runs once, while the snapshot is made. `start`, which the host calls in each isolate, adds what one
// version brings: its bindings and its compatibility flags.

import { core, primordials } from "ext:core/mod.js";
import { Cache, caches, CacheStorage } from "ext:skep_web/cache.js";
import { console, defineInspect, setColors } from "ext:skep_web/console.js";
import { reportException, requireEvent, setStarting } from "ext:skep_web/context.js";
import { Crypto, denoCrypto, SubtleCrypto } from "ext:skep_web/crypto.js";
import {
  dispatcher,
  ExtendableEvent,
  FetchEvent,
  forgetModule,
  ScheduledEvent,
  setDispatchGlobalEvent,
  setModule,
  setServiceWorker,
  TailEvent,
  TraceEvent,
} from "ext:skep_web/events.js";
import { EventSource } from "ext:skep_web/event_source.js";
import { fetch } from "ext:skep_web/fetch.js";
import { isOn, setFlags } from "ext:skep_web/flags.js";
import { HTMLRewriter } from "ext:skep_web/html_rewriter.js";
import { Body, FormData, Headers, pick, Request, Response } from "ext:skep_web/http.js";
import { dispatchRpc } from "ext:skep_web/rpc.js";
import { makeAssets, makeFetcher, makeRateLimit, setOwnWorker } from "ext:skep_web/services.js";
import { FixedLengthStream, IdentityTransformStream } from "ext:skep_web/streams.js";
import { runs, watchTurns } from "ext:skep_web/turns.js";
import { WebSocket, WebSocketPair, WebSocketRequestResponsePair } from "ext:skep_web/websocket.js";
import * as workers from "ext:skep_web/workers.js";

const {
  Error,
  JSONParse,
  ObjectCreate,
  ObjectDefineProperty,
  ObjectFreeze,
  ObjectGetOwnPropertyDescriptor,
  ObjectKeys,
  ObjectSetPrototypeOf,
  Promise,
  ReflectApply,
  ReflectDeleteProperty,
  SafeArrayIterator,
  SymbolToStringTag,
  TypeError,
} = primordials;

const load = (file) => core.loadExtScript(file);
const { brand } = load("ext:deno_webidl/00_webidl.js");
const { URL, URLSearchParams } = load("ext:deno_web/00_url.js");
const { URLPattern } = load("ext:deno_web/01_urlpattern.js");
const { DOMException } = load("ext:deno_web/01_dom_exception.js");
const event = load("ext:deno_web/02_event.js");
const timers = load("ext:deno_web/02_timers.js");
const { AbortController, AbortSignal } = load("ext:deno_web/03_abort_signal.js");
const { atob, btoa } = load("ext:deno_web/05_base64.js");
const streams = load("ext:deno_web/06_streams.js");
const encoding = load("ext:deno_web/08_text_encoding.js");
const { Blob, File } = load("ext:deno_web/09_file.js");
const { MessageChannel, MessagePort, structuredClone } = load("ext:deno_web/13_message_port.js");
const { CompressionStream, DecompressionStream } = load("ext:deno_web/14_compression.js");
const { performance, setTimeOrigin } = load("ext:deno_web/15_performance.js");

// Timers: not before there is an event, and never longer than their event.

function requireFunction(callback, what) {
  if (typeof callback !== "function") throw new TypeError(`${what} needs a function`);
}

/** A callback whose CPU time is its event's. */
function asOwnTurn(callback) {
  return (...args) => {
    runs();
    return ReflectApply(callback, globalThis, args);
  };
}

function setTimeout(callback, delay = 0, ...args) {
  requireFunction(callback, "setTimeout()");
  requireEvent("setTimeout()");
  return ReflectApply(timers.setTimeout, globalThis, [asOwnTurn(callback), delay, ...new SafeArrayIterator(args)]);
}

function setInterval(callback, delay = 0, ...args) {
  requireFunction(callback, "setInterval()");
  requireEvent("setInterval()");
  return ReflectApply(timers.setInterval, globalThis, [asOwnTurn(callback), delay, ...new SafeArrayIterator(args)]);
}

class Scheduler {
  /** A promise that is fulfilled after so many milliseconds, or rejected when the signal is aborted. */
  wait(milliseconds, options = undefined) {
    return new Promise((resolve, reject) => {
      requireEvent("scheduler.wait()");
      const signal = options?.signal;
      signal?.throwIfAborted();
      const timer = ReflectApply(timers.setTimeout, globalThis, [asOwnTurn(resolve), milliseconds]);
      signal?.addEventListener("abort", () => {
        ReflectApply(timers.clearTimeout, globalThis, [timer]);
        reject(signal.reason);
      }, { once: true });
    });
  }
}

// Navigator

class Navigator {
  constructor() {
    throw new TypeError("Illegal constructor");
  }
  get userAgent() {
    return "Cloudflare-Workers";
  }
  get language() {
    return "en";
  }
  get languages() {
    return ["en"];
  }
  get platform() {
    return "Linux";
  }
  get hardwareConcurrency() {
    return 1;
  }
  sendBeacon(url, body = undefined) {
    primordials.PromisePrototypeCatch(fetch(url, { method: "POST", body }), () => {});
    return true;
  }
}

const navigator = ObjectCreate(Navigator.prototype);
for (const name of new SafeArrayIterator(["userAgent", "language", "languages", "platform", "hardwareConcurrency"])) {
  ObjectDefineProperty(Navigator.prototype, name, { __proto__: null, enumerable: true });
}

// The global object as an event target

class WorkerGlobalScope extends event.EventTarget {
  constructor() {
    throw new TypeError("Illegal constructor");
  }
}

class ServiceWorkerGlobalScope extends WorkerGlobalScope {}

const DISPATCHED = { __proto__: null, fetch: true, scheduled: true, queue: true, tail: true, trace: true };

/** How many listeners each of the platform's events has. */
const listenerCounts = { __proto__: null };

function addEventListener(type, listener, options = undefined) {
  if (DISPATCHED[type]) listenerCounts[type] = (listenerCounts[type] ?? 0) + 1;
  return ReflectApply(event.EventTarget.prototype.addEventListener, globalThis, [type, listener, options]);
}

function removeEventListener(type, listener, options = undefined) {
  return ReflectApply(event.EventTarget.prototype.removeEventListener, globalThis, [type, listener, options]);
}

function dispatchEvent(dispatched) {
  return ReflectApply(event.EventTarget.prototype.dispatchEvent, globalThis, [dispatched]);
}

/** Shows an error as if nobody had caught it. https://html.spec.whatwg.org/#dom-reporterror */
function reportError(error) {
  if (arguments.length === 0) throw new TypeError("reportError() needs an error");
  const errorEvent = new event.ErrorEvent("error", { cancelable: true, error, message: `Uncaught ${error}` });
  if (dispatchEvent(errorEvent)) reportException(error);
}

function onUnhandledRejection(promise, reason) {
  const rejection = new event.PromiseRejectionEvent("unhandledrejection", { cancelable: true, promise, reason });
  if (dispatchEvent(rejection)) reportException(reason);
  return true;
}

function onHandledRejection(promise, reason) {
  dispatchEvent(new event.PromiseRejectionEvent("rejectionhandled", { promise, reason }));
}

defineInspect(URL.prototype, (url) => ({
  prefix: "URL",
  properties: pick(url, ["origin", "href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash", "searchParams"]),
}));
defineInspect(URLSearchParams.prototype, (parameters) => {
  const entries = [...parameters];
  return { prefix: `URLSearchParams(${entries.length})`, entries };
});
defineInspect(File.prototype, (file) => ({ prefix: "File", properties: pick(file, ["name", "lastModified", "size", "type"]) }));
defineInspect(CacheStorage.prototype, (storage) => ({ prefix: "CacheStorage", properties: pick(storage, ["default"]) }));

// The flags are looked at by few: their object is made for the first who does.
let compatibilityFlags;
const Cloudflare = ObjectCreate({}, {
  [SymbolToStringTag]: { __proto__: null, value: "Cloudflare" },
  compatibilityFlags: {
    __proto__: null,
    get: () => compatibilityFlags ??= ObjectFreeze(JSONParse(core.ops.op_compatibility_flags())),
    enumerable: true,
  },
});

/** What is new on `globalThis`, by how it is defined. */
const classes = {
  AbortController,
  AbortSignal,
  Blob,
  Body,
  ByteLengthQueuingStrategy: streams.ByteLengthQueuingStrategy,
  Cache,
  CacheStorage,
  CloseEvent: event.CloseEvent,
  CompressionStream,
  CountQueuingStrategy: streams.CountQueuingStrategy,
  Crypto,
  CryptoKey: denoCrypto.CryptoKey,
  CustomEvent: event.CustomEvent,
  DecompressionStream,
  DOMException,
  ErrorEvent: event.ErrorEvent,
  Event: event.Event,
  EventSource,
  EventTarget: event.EventTarget,
  ExtendableEvent,
  FetchEvent,
  File,
  FixedLengthStream,
  FormData,
  Headers,
  HTMLRewriter,
  IdentityTransformStream,
  MessageChannel,
  MessageEvent: event.MessageEvent,
  MessagePort,
  Navigator,
  PromiseRejectionEvent: event.PromiseRejectionEvent,
  ReadableByteStreamController: streams.ReadableByteStreamController,
  ReadableStream: streams.ReadableStream,
  ReadableStreamBYOBReader: streams.ReadableStreamBYOBReader,
  ReadableStreamBYOBRequest: streams.ReadableStreamBYOBRequest,
  ReadableStreamDefaultController: streams.ReadableStreamDefaultController,
  ReadableStreamDefaultReader: streams.ReadableStreamDefaultReader,
  Request,
  Response,
  ScheduledEvent,
  ServiceWorkerGlobalScope,
  SubtleCrypto,
  TailEvent,
  TextDecoder: encoding.TextDecoder,
  TextDecoderStream: encoding.TextDecoderStream,
  TextEncoder: encoding.TextEncoder,
  TextEncoderStream: encoding.TextEncoderStream,
  TraceEvent,
  TransformStream: streams.TransformStream,
  TransformStreamDefaultController: streams.TransformStreamDefaultController,
  URL,
  URLPattern,
  URLSearchParams,
  WebSocket,
  WebSocketPair,
  WebSocketRequestResponsePair,
  WorkerGlobalScope,
  WritableStream: streams.WritableStream,
  WritableStreamDefaultController: streams.WritableStreamDefaultController,
  WritableStreamDefaultWriter: streams.WritableStreamDefaultWriter,
};

const functions = {
  addEventListener,
  atob,
  btoa,
  clearInterval: timers.clearInterval,
  clearTimeout: timers.clearTimeout,
  dispatchEvent,
  fetch,
  removeEventListener,
  reportError,
  setInterval,
  setTimeout,
  structuredClone,
};

const values = {
  caches,
  Cloudflare,
  console,
  crypto: undefined,
  navigator,
  origin: "null",
  performance,
  scheduler: new Scheduler(),
  self: globalThis,
};

// On Workers the classes are enumerable too.
for (const name in classes) {
  define(name, classes[name], true);
  if (ObjectGetOwnPropertyDescriptor(classes[name].prototype, SymbolToStringTag) === undefined) {
    ObjectDefineProperty(classes[name].prototype, SymbolToStringTag, { __proto__: null, value: name, configurable: true });
  }
}
for (const name in functions) define(name, functions[name], true);
for (const name in values) define(name, values[name], true);
ObjectDefineProperty(globalThis, "crypto", { __proto__: null, get: () => denoCrypto.crypto, enumerable: true, configurable: true });

function define(name, value, enumerable) {
  ObjectDefineProperty(globalThis, name, { __proto__: null, value, writable: true, enumerable, configurable: true });
}

// A method of the platform's events that is nobody else's business.
ObjectDefineProperty(event.EventTarget.prototype, "getParent", { __proto__: null, enumerable: false });
ObjectSetPrototypeOf(globalThis, ServiceWorkerGlobalScope.prototype);
event.setEventTargetData(globalThis);
ObjectDefineProperty(globalThis, brand, { __proto__: null, value: brand });
event.saveGlobalThisReference(globalThis);
setDispatchGlobalEvent(dispatchEvent);

// Errors of ops that are a DOMException in JavaScript.
for (const name of new SafeArrayIterator([
  "AbortError",
  "DataError",
  "IndexSizeError",
  "InvalidAccessError",
  "InvalidCharacterError",
  "InvalidStateError",
  "NetworkError",
  "NotSupportedError",
  "OperationError",
  "QuotaExceededError",
  "SyntaxError",
  "TypeMismatchError",
])) {
  core.registerErrorBuilder(`DOMException${name}`, (message) => new DOMException(message, name));
}
core.registerErrorBuilder("AbortError", (message) => new DOMException(message, "AbortError"));

core.setReportExceptionCallback((error) => reportException(error));
core.setUnhandledPromiseRejectionHandler(onUnhandledRejection);
core.setHandledPromiseRejectionHandler(onHandledRejection);

/** Globals that are there only if a compatibility flag is on. */
const GLOBALS_BY_FLAG = [
  ["global_navigator", ["navigator"]],
  ["expose_global_message_channel", ["MessageChannel", "MessagePort"]],
  ["enable_weak_ref", ["WeakRef", "FinalizationRegistry"]],
];

/** What modules of the platform export, by their names. */
const modules = { "cloudflare:workers": { ...workers } };

/** What the runtime leaves on the global object for its own start in each isolate. Its modules keep their references. */
const RUNTIME_GLOBALS = ["Deno", "__bootstrap", "__infra", "__timers", "bootstrap"];

/**
 * Finishes the global object of a new isolate, whatever will run in it. In a `rehearsal`, before the snapshot is made, the runtime stays for
 * the isolates that are made from that. Gives what the meter needs.
 */
function prepare(inspector, rehearsal = false) {
  // Looks for the runtime on the global object, so it comes first.
  if (inspector) {
    core.wrapConsole(console, core.v8Console);
    ReflectDeleteProperty(console, "createTask");
  }
  if (!rehearsal) {
    for (const name of new SafeArrayIterator(RUNTIME_GLOBALS)) ReflectDeleteProperty(globalThis, name);
  }
  // V8 adds these when it makes a context from a snapshot; Workers do not have them.
  const wasm = globalThis.WebAssembly ?? {};
  for (const name of new SafeArrayIterator(["compileStreaming", "instantiateStreaming"])) ReflectDeleteProperty(wasm, name);
  return watchTurns();
}

/**
 * Makes this isolate one version's: called once, before its modules are loaded.
 * `options` is `{ worker, bindings: [{ name, kind, value }], flags: [name], colors, serviceWorker }`.
 */
function start(options) {
  setColors(options.colors);
  setTimeOrigin();
  setFlags(options.flags);
  for (const { 0: flag, 1: names } of new SafeArrayIterator(GLOBALS_BY_FLAG)) {
    if (isOn(flag)) continue;
    for (const name of new SafeArrayIterator(names)) ReflectDeleteProperty(globalThis, name);
  }
  if (!isOn("enable_navigator_language")) {
    for (const name of new SafeArrayIterator(["language", "languages"])) ReflectDeleteProperty(Navigator.prototype, name);
  }
  setOwnWorker(options.worker);
  if (isOn("disallow_importable_env")) modules["cloudflare:workers"].env = {};
  for (const binding of new SafeArrayIterator(options.bindings)) {
    const value = bindingValue(binding);
    workers.env[binding.name] = value;
    if (options.serviceWorker) define(binding.name, value, true);
  }
  setStarting(true);
}

function bindingValue({ name, kind, value }) {
  switch (kind) {
    case "assets":
      return makeAssets();
    case "service":
      return makeFetcher(value.worker, value.entrypoint, value.props);
    case "ratelimit":
      return makeRateLimit(value);
    case "unavailable":
      return unavailableBinding(name, value);
    default:
      return value;
  }
}

/** A binding of a type that the platform does not serve yet: every use says so. */
function unavailableBinding(name, kind) {
  const complain = (property) => {
    throw new Error(`env.${name} cannot be used: bindings of type "${kind}" are not supported yet${property === undefined ? "" : ` (env.${name}.${property})`}`);
  };
  return new primordials.Proxy(function () {}, {
    get(_target, property) {
      // What the console and promises look at is not a use.
      if (typeof property === "symbol" || property === "then" || property === "toJSON") return undefined;
      return () => complain(property);
    },
    apply: () => complain(),
    construct: () => complain(),
    has: () => true,
  });
}

/** The modules are loaded. Gives the names of the handlers. `namespace` is undefined for a classic script. */
function loaded(namespace) {
  setStarting(false);
  if (namespace === undefined) return setServiceWorker((name) => listenerCounts[name] ?? 0);
  const names = setModule(namespace, workers.env);
  return names.length > 0 ? names : setServiceWorker((name) => listenerCounts[name] ?? 0);
}

/** Forgets the version that was started in a rehearsal. */
function forget() {
  forgetModule();
  for (const name of new SafeArrayIterator(ObjectKeys(workers.env))) ReflectDeleteProperty(workers.env, name);
}

/** What the host calls: found under a private name and removed from the global object before any Worker runs. */
globalThis.__skep = { prepare, start, loaded, forget, dispatcher: { ...dispatcher, rpc: dispatchRpc }, modules };
