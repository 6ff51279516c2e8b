// What RPC looks like to a Worker: RpcTarget, and the stubs, promises and properties that stand for what another isolate has.
// https://developers.cloudflare.com/workers/runtime-apis/rpc/lifecycle/
//
// Each of them is a Proxy: any property is a property of the other side, any call is a call of it. Nothing is sent until
// something is called or awaited, so a chain of properties and calls is one round trip.

import { core, primordials } from "ext:core/mod.js";
import { setReferences } from "ext:skep_web/rpc_values.js";

const {
  ArrayPrototypeSlice,
  Error,
  ObjectDefineProperty,
  ObjectHasOwn,
  ObjectPrototypeIsPrototypeOf,
  ObjectSetPrototypeOf,
  PromisePrototypeThen,
  PromisePrototypeFinally,
  PromiseReject,
  PromiseResolve,
  Proxy,
  ReflectDeleteProperty,
  ReflectGet,
  ReflectHas,
  SafeArrayIterator,
  SafeWeakMap,
  SymbolDispose,
  SymbolToStringTag,
  TypeError,
  WeakMapPrototypeGet,
  WeakMapPrototypeSet,
} = primordials;

const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");

/** What each stub, promise and property stands for. */
const states = new SafeWeakMap();

function stateOf(value) {
  return typeof value === "function" ? WeakMapPrototypeGet(states, value) : undefined;
}

function requireState(value, Class) {
  const state = stateOf(value);
  if (!ObjectPrototypeIsPrototypeOf(Class.prototype, state)) throw new TypeError("Illegal invocation");
  return state;
}

/** The error of who asks for something that the other side does not show. */
function notImplemented(name) {
  return new TypeError(`The RPC receiver does not implement the method "${name}".`);
}

// Answers: what a call has given, or will give

/** The answer to a call of this isolate that is settled, or was never sent. */
class SettledAnswer {
  constructor(promise, value) {
    this.promise = promise;
    this.value = value;
    PromisePrototypeThen(promise, undefined, () => {});
  }
  static of(value) {
    return new SettledAnswer(PromiseResolve(value), value);
  }
  static failed(error) {
    return new SettledAnswer(PromiseReject(error), undefined);
  }
  call(path, args) {
    return new SettledAnswer(PromisePrototypeThen(this.promise, (value) => callLocal(value, path, args).promise), undefined);
  }
  dispose() {}
}

/** Calls or reads what is reached from a value that is here: the value came from elsewhere, so its functions are stubs. */
function callLocal(value, path, args) {
  let current = value;
  for (let index = 0; index < path.length; index++) {
    const state = stateOf(current);
    if (state !== undefined) return state.call(ArrayPrototypeSlice(path, index), args);
    const name = path[index];
    if (typeof current !== "object" || current === null || !ObjectHasOwn(current, name)) return SettledAnswer.failed(notImplemented(name));
    current = current[name];
  }
  if (args === undefined) return SettledAnswer.of(current);
  const state = stateOf(current);
  if (state !== undefined) return state.call([], args);
  return SettledAnswer.failed(new TypeError(`"${path[path.length - 1] ?? "the result"}" is not a function.`));
}

// What a stub, a promise and a property each do

class StubState {
  disposed = false;
  constructor(session, id) {
    this.session = session;
    this.id = id;
  }
  call(path, args) {
    if (this.disposed) return SettledAnswer.failed(disposedError());
    return this.session.call(false, this.id, path, args);
  }
  dispose() {
    if (this.disposed) return;
    this.disposed = true;
    this.session.release(this.id);
  }
}

function disposedError() {
  return new Error("RPC stub used after being disposed.");
}

class PromiseState {
  constructor(answer) {
    this.answer = answer;
  }
  call(path, args) {
    return this.answer.call(path, args);
  }
}

class PropertyState {
  constructor(parent, path) {
    this.parent = parent;
    this.path = path;
  }
  call(path, args) {
    return this.parent.call([...new SafeArrayIterator(this.path), ...new SafeArrayIterator(path)], args);
  }
  read() {
    return this.parent.call(this.path, undefined).promise;
  }
}

// What a Worker sees

/** Objects of classes that extend this are passed by reference. */
class RpcTarget {}

class RpcStub {
  /** A stub of an object or a function of one's own. */
  constructor(target) {
    if ((typeof target !== "object" && typeof target !== "function") || target === null) {
      throw new TypeError("RpcStub needs an object or a function: new RpcStub(new MyTarget())");
    }
    return makeLocalStub(target);
  }

  /** Another stub of the same object, to be disposed of on its own. */
  dup() {
    const { disposed, session, id } = requireState(this, StubState);
    if (disposed) throw disposedError();
    return session.importStub(id);
  }

  /** Has a function called with the error when the connection to the object is lost. */
  onRpcBroken(callback) {
    if (typeof callback !== "function") throw new TypeError("onRpcBroken() needs a function");
    requireState(this, StubState).session.onBroken(callback);
  }

  [SymbolDispose]() {
    requireState(this, StubState).dispose();
  }
}

function illegalConstructor() {
  throw new TypeError("Illegal constructor");
}

class RpcPromise {
  constructor() {
    illegalConstructor();
  }
  then(onFulfilled, onRejected) {
    return PromisePrototypeThen(requireState(this, PromiseState).answer.promise, onFulfilled, onRejected);
  }
  catch(onRejected) {
    return this.then(undefined, onRejected);
  }
  finally(onFinally) {
    return PromisePrototypeFinally(requireState(this, PromiseState).answer.promise, onFinally);
  }
  [SymbolDispose]() {
    requireState(this, PromiseState).answer.dispose();
  }
}

class RpcProperty {
  constructor() {
    illegalConstructor();
  }
  then(onFulfilled, onRejected) {
    return PromisePrototypeThen(requireState(this, PropertyState).read(), onFulfilled, onRejected);
  }
  catch(onRejected) {
    return this.then(undefined, onRejected);
  }
  finally(onFinally) {
    return PromisePrototypeFinally(requireState(this, PropertyState).read(), onFinally);
  }
}

// structuredClone() and the like: there is no other side that could have a stub.
ObjectDefineProperty(RpcTarget.prototype, core.hostObjectBrand, {
  __proto__: null,
  value() {
    throw new DOMException("Remote RPC references can only be serialized for RPC.", "DataCloneError");
  },
});

const classes = { JsRpcTarget: RpcTarget, JsRpcStub: RpcStub, JsRpcPromise: RpcPromise, JsRpcProperty: RpcProperty };
for (const tag in classes) {
  ObjectDefineProperty(classes[tag].prototype, SymbolToStringTag, { __proto__: null, value: tag, configurable: true });
}

/** Passes properties and calls on to the other side, apart from those of its own class. */
class Handler {
  constructor(state, prototype) {
    this.state = state;
    this.prototype = prototype;
  }
  get(_callable, property, receiver) {
    if (typeof property === "symbol" || ReflectHas(this.prototype, property)) return ReflectGet(this.prototype, property, receiver);
    // A stub is no promise: `await stub` gives the stub.
    if (property === "then") return undefined;
    return makeProperty(this.state, [property]);
  }
  has() {
    return true;
  }
  apply(_callable, _this, args) {
    return makePromise(this.state.call([], args));
  }
}

function makeProxy(state, Class) {
  const callable = () => {};
  ReflectDeleteProperty(callable, "name");
  ReflectDeleteProperty(callable, "length");
  ObjectSetPrototypeOf(callable, Class.prototype);
  const proxy = new Proxy(callable, new Handler(state, Class.prototype));
  WeakMapPrototypeSet(states, proxy, state);
  return proxy;
}

/** A stub of what the other side of a session calls `id`. */
function makeStub(session, id) {
  return makeProxy(new StubState(session, id), RpcStub);
}

function makePromise(answer) {
  return makeProxy(new PromiseState(answer), RpcPromise);
}

/** The property of what a state stands for. A property of a property is a longer path. */
function makeProperty(parent, path) {
  if (ObjectPrototypeIsPrototypeOf(PropertyState.prototype, parent)) {
    return makeProxy(new PropertyState(parent.parent, [...new SafeArrayIterator(parent.path), ...new SafeArrayIterator(path)]), RpcProperty);
  }
  return makeProxy(new PropertyState(parent, path), RpcProperty);
}

let makeLocalStub = illegalConstructor;

/** Hands over what makes a stub of a local object. */
function setMakeLocalStub(make) {
  makeLocalStub = make;
}

function disposeOf(stub) {
  stateOf(stub)?.dispose?.();
}

setReferences(
  (value) => ObjectPrototypeIsPrototypeOf(RpcTarget.prototype, value),
  // Undefined for what is no stub, null for a promise or a property, which cannot be passed on.
  (value) => {
    const state = stateOf(value);
    if (state === undefined) return undefined;
    return ObjectPrototypeIsPrototypeOf(StubState.prototype, state) ? value : null;
  },
);

export {
  disposedError,
  disposeOf,
  makePromise,
  makeProperty,
  makeStub,
  notImplemented,
  RpcPromise,
  RpcProperty,
  RpcStub,
  RpcTarget,
  setMakeLocalStub,
  SettledAnswer,
  stateOf,
  callLocal,
};
