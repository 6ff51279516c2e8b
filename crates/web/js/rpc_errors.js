// Errors that come from another isolate: the same class and message, marked with `remote`.
// https://developers.cloudflare.com/workers/runtime-apis/rpc/error-handling/

import { core, primordials } from "ext:core/mod.js";

const {
  AggregateError,
  Error,
  EvalError,
  ObjectDefineProperty,
  RangeError,
  ReferenceError,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  SyntaxError,
  TypeError,
  URIError,
} = primordials;

const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");

/** The classes that an error keeps on its way; an error of any other class arrives as an Error that has its name. */
const CLASSES = { __proto__: null, Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

/** The names of DOMExceptions that the platform itself throws. */
const DOM_NAMES = { __proto__: null, AbortError: true, DataCloneError: true, TimeoutError: true, NotSupportedError: true };

/** An error of a class, by the class's name. */
function makeError(name, message) {
  if (name === "AggregateError") return new AggregateError([], message);
  const Class = CLASSES[name];
  if (Class !== undefined) return new Class(message);
  if (DOM_NAMES[name]) return new DOMException(message, name);
  const error = new Error(message);
  setProperty(error, "name", name);
  return error;
}

function setProperty(object, name, value) {
  ObjectDefineProperty(object, name, { __proto__: null, value, writable: true, enumerable: true, configurable: true });
}

/** Marks what another isolate threw. */
function markRemote(error) {
  if (typeof error === "object" && error !== null) setProperty(error, "remote", true);
  return error;
}

/** An error that the host gave as one text: the name, a line end, the message. */
function remoteError(text) {
  const end = StringPrototypeIndexOf(text, "\n");
  return markRemote(makeError(StringPrototypeSlice(text, 0, end), StringPrototypeSlice(text, end + 1)));
}

core.registerErrorBuilder("Remote", remoteError);

export { CLASSES, makeError, markRemote, remoteError, setProperty };
