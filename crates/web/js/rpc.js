// Sessions of calls between two isolates. https://developers.cloudflare.com/workers/runtime-apis/rpc/
//
// Each call of a method of a service binding opens a session, which is one event of the other Worker. In it both sides may
// call what the other one has shown them: the entrypoint itself (number 0), and what was passed by reference, which gets a
// number from who passes it. A question has a number from who asks; until it is answered its number stands for its answer, so
// that a call of the answer need not wait for it. The side that opened the session closes it when nothing is asked,
// shown or held any more, and the host closes it with the event.
//
// A frame's head is a list, the first of it one of these; the value of a call, an answer or an error is its payload:
//   CALL question ofAnswer number path isCall entries     RETURN question entries     THROW question entries
//   FINISH question (the answer is not needed any more)   RELEASE number (no stub of it is left)

import { core, primordials } from "ext:core/mod.js";
import { currentId, currentInvocation, describeError, enterInvocation, Invocation, reportException, requireEvent } from "ext:skep_web/context.js";
import { receiverOf } from "ext:skep_web/events.js";
import { markRemote, remoteError } from "ext:skep_web/rpc_errors.js";
import {
  callLocal,
  disposedError,
  disposeOf,
  makeProperty,
  makeStub,
  notImplemented,
  RpcTarget,
  setMakeLocalStub,
  SettledAnswer,
  stateOf,
} from "ext:skep_web/rpc_stubs.js";
import { NOTHING, Packer, unpack } from "ext:skep_web/rpc_values.js";
import { setMethodOf } from "ext:skep_web/services.js";

const {
  ArrayIsArray,
  ArrayPrototypePush,
  ArrayPrototypeShift,
  ArrayPrototypeSlice,
  Error,
  FunctionPrototypeBind,
  JSONParse,
  ObjectDefineProperty,
  ObjectGetOwnPropertyDescriptor,
  ObjectGetPrototypeOf,
  ObjectHasOwn,
  ObjectPrototype,
  ObjectPrototypeIsPrototypeOf,
  Promise,
  PromisePrototypeThen,
  PromiseReject,
  PromiseResolve,
  ReflectApply,
  SafeArrayIterator,
  SafeMap,
  SafeMapIterator,
  SymbolDispose,
  TypeError,
} = primordials;
const ops = core.ops;

const CALL = 0;
const RETURN = 1;
const THROW = 2;
const FINISH = 3;
const RELEASE = 4;

/** Names of an entrypoint's methods that are not for calls. */
const RESERVED = {
  __proto__: null,
  alarm: true,
  connect: true,
  dup: true,
  fetch: true,
  webSocketClose: true,
  webSocketError: true,
  webSocketMessage: true,
};

/** A question that was asked, and its answer when it is there. */
class Answer {
  promise;
  #session;
  #number;
  #resolve;
  #reject;
  /** "asked", "given" or "failed". */
  #state = "asked";
  #value;
  #stubs = [];
  #disposed = false;

  constructor(session, number) {
    this.#session = session;
    this.#number = number;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who only calls the answer learns of the error from that call.
    PromisePrototypeThen(this.promise, undefined, () => {});
  }

  call(path, args) {
    switch (this.#state) {
      case "asked":
        return this.#session.call(true, this.#number, path, args);
      case "given":
        return callLocal(this.#value, path, args);
      default:
        return SettledAnswer.failed(this.#value);
    }
  }

  give(value, stubs) {
    this.#state = "given";
    this.#value = value;
    this.#stubs = stubs;
    if (this.#disposed) this.dispose();
    else makeDisposable(value, stubs);
    this.#resolve(value);
  }

  fail(error) {
    this.#state = "failed";
    this.#value = error;
    this.#reject(error);
  }

  /** Disposes of all stubs of the answer, also if it is still to come. */
  dispose() {
    this.#disposed = true;
    disposeAll(this.#stubs);
  }
}

function disposeAll(stubs) {
  for (const stub of new SafeArrayIterator(stubs)) disposeOf(stub);
}

/** Lets a result that is no stub itself be disposed of with all stubs in it. */
function makeDisposable(value, stubs) {
  if (typeof value !== "object" || value === null) return;
  const dispose = () => disposeAll(stubs);
  ObjectDefineProperty(value, SymbolDispose, { __proto__: null, value: dispose, writable: true, enumerable: false, configurable: true });
}

class Session {
  #rid;
  /** The event that it belongs to. */
  #invocation;
  /** Whether this side opened it. */
  #opener;
  /** Whether the other side is a Worker whose event this is: the host is told of its end. */
  #event;
  /** What the other side may call, by its number. 0 is the root. */
  #exports = new SafeMap();
  #nextExport = 1;
  /** How many stubs there are of what the other side has shown. */
  #imports = new SafeMap();
  /** What was asked and is not answered. */
  #questions = new SafeMap();
  #nextQuestion = 1;
  /** Promises of what the other side asked for and may still call. */
  #answers = new SafeMap();
  /** Calls of the other side that are being answered. */
  #running = 0;
  /** Streams that this side still feeds or reads for the other one. */
  #streams = 0;
  /** Why it cannot be used any more. */
  #error = undefined;
  #brokenCallbacks = [];
  /** Frames that wait for room. */
  #waiting = [];
  #reading = undefined;
  #told = false;
  #released = false;

  constructor(rid, invocation, opener, event = false) {
    this.#rid = rid;
    this.#invocation = invocation;
    this.#opener = opener;
    this.#event = event;
  }

  // What goes out

  /** Asks for the value of a path, or for a call of it if there are arguments. */
  call(ofAnswer, number, path, args) {
    if (this.#error !== undefined) return SettledAnswer.failed(this.#error);
    const packer = new Packer(this);
    let payload = NOTHING;
    try {
      if (args !== undefined) payload = packer.pack(args);
    } catch (error) {
      this.#closeIfUnused();
      return SettledAnswer.failed(error);
    }
    const question = this.#nextQuestion++;
    const answer = new Answer(this, question);
    this.#questions.set(question, answer);
    this.#send([CALL, question, ofAnswer, number, path, args !== undefined, packer.entries], payload, packer.attachments);
    this.#keepAwake();
    return answer;
  }

  #send(head, payload = NOTHING, attachments = []) {
    const bytes = core.serialize(head);
    if (this.#waiting.length === 0 && ops.op_rpc_send(this.#rid, bytes, payload, attachments)) return;
    if (ArrayPrototypePush(this.#waiting, [bytes, payload, attachments]) === 1) this.#sendWaiting();
  }

  async #sendWaiting() {
    while (this.#waiting.length > 0) {
      const { 0: bytes, 1: payload, 2: attachments } = this.#waiting[0];
      await ops.op_rpc_send_when_room(this.#rid, bytes, payload, attachments);
      ArrayPrototypeShift(this.#waiting);
    }
    this.#closeIfUnused();
  }

  /** Shows something to the other side. Gives its number. */
  export(target) {
    const id = this.#nextExport++;
    this.#exports.set(id, target);
    return id;
  }

  /** Takes back what the other side was not shown after all. */
  forget(id) {
    const target = this.#exports.get(id);
    this.#exports.delete(id);
    if (stateOf(target) !== undefined) disposeOf(target);
  }

  /** A stub of what the other side has shown. */
  importStub(id) {
    this.#imports.set(id, (this.#imports.get(id) ?? 0) + 1);
    return makeStub(this, id);
  }

  /** A stub is disposed of. */
  release(id) {
    if (this.#error !== undefined) return;
    const left = this.#imports.get(id) - 1;
    if (left > 0) {
      this.#imports.set(id, left);
      return;
    }
    this.#imports.delete(id);
    this.#send([RELEASE, id]);
    this.#closeIfUnused();
  }

  /** Keeps the event alive until a stream of this side has passed to the other one. */
  track(promise) {
    this.#streams += 1;
    const over = () => {
      this.#streams -= 1;
      this.#finish();
    };
    PromisePrototypeThen(promise, over, over);
  }

  onBroken(callback) {
    if (this.#error === undefined) ArrayPrototypePush(this.#brokenCallbacks, callback);
    else PromisePrototypeThen(PromiseResolve(), () => this.#callBroken(callback));
  }

  #callBroken(callback) {
    try {
      callback(this.#error);
    } catch (error) {
      reportException(error, this.#invocation);
    }
  }

  // What comes in

  /** Reads frames until the session is over. */
  async listen() {
    try {
      for (;;) {
        this.#reading = ops.op_rpc_next(this.#rid);
        this.#keepAwake();
        const { head, payload, attachments, failure } = await this.#reading;
        if (!head) {
          this.#end(failure ? remoteError(failure) : closedError(this.#opener));
          break;
        }
        this.#receive(core.deserialize(head), payload, attachments);
      }
    } catch (error) {
      this.#end(error);
    }
  }

  /** Lets the isolate see that its code waits for nothing, when nothing is to come from the other side. */
  #keepAwake() {
    if (this.#reading === undefined) return;
    const awaits = this.#event || this.#questions.size > 0 || (this.#opener && this.#exports.size > 0);
    if (awaits) core.refOpPromise(this.#reading);
    else core.unrefOpPromise(this.#reading);
  }

  #receive(head, payload, attachments) {
    switch (head[0]) {
      case CALL:
        this.#answerCall(head, payload, attachments);
        break;
      case RETURN:
      case THROW:
        this.#takeAnswer(head, payload, attachments);
        break;
      case FINISH:
        this.#answers.delete(head[1]);
        break;
      case RELEASE:
        this.#disposeExport(head[1]);
        break;
    }
    this.#closeIfUnused();
  }

  #takeAnswer({ 0: kind, 1: question, 2: entries }, payload, attachments) {
    const answer = this.#questions.get(question);
    this.#questions.delete(question);
    this.#send([FINISH, question]);
    const stubs = [];
    try {
      const value = unpack(this, payload, entries, attachments, stubs);
      if (kind === RETURN) {
        answer.give(value, stubs);
      } else {
        answer.fail(markRemote(value));
      }
    } catch (error) {
      disposeAll(stubs);
      answer.fail(error);
    }
  }

  #answerCall({ 1: question, 2: ofAnswer, 3: number, 4: path, 5: isCall, 6: entries }, payload, attachments) {
    this.#running += 1;
    const stubs = [];
    let result;
    try {
      const args = isCall ? unpack(this, payload, entries, attachments, stubs) : undefined;
      if (ofAnswer) {
        result = PromisePrototypeThen(this.#answers.get(number), (value) => reach(value, path, args));
      } else if (this.#exports.has(number)) {
        result = reach(this.#exports.get(number), path, args);
      } else {
        result = PromiseReject(disposedError());
      }
    } catch (error) {
      result = PromiseReject(error);
    }
    const answer = PromiseResolve(result);
    this.#answers.set(question, answer);
    PromisePrototypeThen(answer, (value) => this.#give(question, value, stubs), (error) => this.#throw(question, error, stubs));
  }

  #give(question, value, stubs) {
    if (this.#error !== undefined) {
      this.#callOver(stubs);
      return;
    }
    const packer = new Packer(this);
    let payload;
    try {
      payload = packer.pack(value);
    } catch (error) {
      this.#throw(question, error, stubs);
      return;
    }
    this.#send([RETURN, question, packer.entries], payload, packer.attachments);
    // What is returned belongs to the caller.
    disposeAll(packer.given);
    this.#callOver(stubs);
  }

  #throw(question, error, stubs) {
    if (question === 1 && this.#event) {
      const { name, message, stack } = describeError(error);
      ops.op_rpc_failed(this.#invocation.id, name, message, stack);
    }
    if (this.#error === undefined) {
      const { packer, payload } = this.#packError(error);
      this.#send([THROW, question, packer.entries], payload, packer.attachments);
    }
    this.#callOver(stubs);
  }

  #packError(error) {
    const isObject = typeof error === "object" && error !== null;
    try {
      const packer = new Packer(this);
      return { packer, payload: packer.pack(isObject ? error : new Error(`${error}`)) };
    } catch {
      // It holds what cannot be sent: its name and its message must do.
      const { name, message } = describeError(error);
      const plain = new Error(message);
      if (name !== "Error") plain.name = name;
      const packer = new Packer(this);
      return { packer, payload: packer.pack(plain) };
    }
  }

  /** A call was answered: the stubs among its arguments are disposed of, unless they were duplicated. */
  #callOver(stubs) {
    disposeAll(stubs);
    this.#running -= 1;
    this.#closeIfUnused();
    this.#finish();
  }

  #disposeExport(id) {
    const target = this.#exports.get(id);
    this.#exports.delete(id);
    disposeTarget(target, this.#invocation);
  }

  // The end

  /** Closes a session that this side opened, when neither side can want anything of it any more. */
  #closeIfUnused() {
    if (!this.#opener || this.#error !== undefined) return;
    if (this.#questions.size > 0 || this.#imports.size > 0 || this.#exports.size > 0) return;
    if (this.#running > 0 || this.#waiting.length > 0) return;
    this.#brokenCallbacks = [];
    this.#end(disposedError());
  }

  #end(error) {
    if (this.#error !== undefined) return;
    this.#error = error;
    core.tryClose(this.#rid);
    for (const { 1: answer } of new SafeMapIterator(this.#questions)) answer.fail(error);
    this.#questions.clear();
    for (const callback of new SafeArrayIterator(this.#brokenCallbacks)) this.#callBroken(callback);
    for (const { 1: target } of new SafeMapIterator(this.#exports)) disposeTarget(target, this.#invocation);
    this.#exports.clear();
    this.#answers.clear();
    this.#finish();
  }

  /** Tells the host how the session ended, and ends the event's part of it when nothing runs for it any more. */
  #finish() {
    if (this.#error === undefined || !this.#event || this.#released) return;
    const busy = this.#running > 0;
    if (!this.#told && (busy || this.#streams === 0)) {
      this.#told = true;
      ops.op_rpc_closed(this.#invocation.id, busy);
    }
    if (busy || this.#streams > 0) return;
    this.#released = true;
    this.#invocation.release();
  }

  /** Sets what the other side reaches without having been shown anything. */
  setRoot(root) {
    this.#exports.set(0, root);
  }
}

/** Why the calls of a session that was closed, and did not break, have no answer. */
function closedError(opener) {
  return new Error(
    opener
      ? "The event that opened the RPC session is over: await its calls, or hand their promises to ctx.waitUntil()"
      : "The caller's event is over, and its stubs with it",
  );
}

function disposeTarget(target, invocation) {
  try {
    if (stateOf(target) !== undefined) disposeOf(target);
    else if (target !== undefined && typeof target[SymbolDispose] === "function" && !ObjectPrototypeIsPrototypeOf(Root.prototype, target)) target[SymbolDispose]();
  } catch (error) {
    reportException(error, invocation);
  }
}

// What a path reaches

/** The root of a session with a Worker: one of its entrypoints. */
class Root {
  /** `open` gives the entrypoint, or throws why there is none. */
  constructor(open) {
    try {
      this.receiver = open();
    } catch (error) {
      this.error = error;
    }
  }
}

/** Calls what a path reaches from a value, or gives it if there are no arguments. May give a promise. */
function reach(target, path, args) {
  if (ObjectPrototypeIsPrototypeOf(Root.prototype, target)) return reachRoot(target, path, args);
  return follow(undefined, target, "", path, args);
}

function reachRoot(root, path, args) {
  if (root.error !== undefined) throw root.error;
  const { instance, object, env, context } = root.receiver;
  const name = path[0];
  if (RESERVED[name]) throw new TypeError(`'${name}' is a reserved method and cannot be called over RPC.`);
  if (instance !== undefined) {
    return follow(instance, inheritedMember(instance, name), name, ArrayPrototypeSlice(path, 1), args);
  }
  // The functions of a plain object are handlers: one argument of the caller's, then what handlers get.
  if (typeof object[name] !== "function" || !ObjectHasOwn(object, name)) throw notImplemented(name);
  if (args === undefined || path.length > 1 || args.length > 1) {
    throw new TypeError(
      `Cannot call handler function "${name}" over RPC with other arguments than (arg, env, ctx), of which the client gives the first. For methods with more, export a class that extends WorkerEntrypoint.`,
    );
  }
  return ReflectApply(object[name], object, [args[0], env, context]);
}

/** Follows a path from a value, which is the property `name` of its parent. */
function follow(parent, value, name, path, args) {
  const state = stateOf(value);
  if (state !== undefined && (path.length > 0 || args !== undefined)) return state.call(path, args).promise;
  if (state === undefined && isThenable(value) && (path.length > 0 || args !== undefined)) {
    return PromisePrototypeThen(PromiseResolve(value), (settled) => follow(parent, settled, name, path, args));
  }
  if (path.length > 0) return follow(value, member(value, path[0], name), path[0], ArrayPrototypeSlice(path, 1), args);
  if (args !== undefined) {
    if (typeof value !== "function") throw new TypeError(`"${name}" is not a function.`);
    return ReflectApply(value, parent, args);
  }
  // A method that is read keeps its object.
  return typeof value === "function" && parent !== undefined && state === undefined ? FunctionPrototypeBind(value, parent) : value;
}

function isThenable(value) {
  return typeof value === "object" && value !== null && typeof value.then === "function";
}

/** A property that others may reach. `from` is the name of what it is a property of. */
function member(value, name, from) {
  if (typeof value === "object" && value !== null) {
    if (ObjectPrototypeIsPrototypeOf(RpcTarget.prototype, value)) return inheritedMember(value, name);
    const prototype = ObjectGetPrototypeOf(value);
    if (prototype === ObjectPrototype || prototype === null || ArrayIsArray(value)) {
      if (ObjectHasOwn(value, name)) return value[name];
      throw notImplemented(name);
    }
  }
  throw notImplemented(from === "" ? name : from);
}

/** A member of an object's class. Its own properties are its own business. */
function inheritedMember(object, name) {
  if (name !== "constructor" && !ObjectHasOwn(object, name)) {
    let prototype = ObjectGetPrototypeOf(object);
    while (prototype !== null && prototype !== ObjectPrototype) {
      const descriptor = ObjectGetOwnPropertyDescriptor(prototype, name);
      if (descriptor !== undefined) {
        return descriptor.get === undefined ? descriptor.value : ReflectApply(descriptor.get, object, []);
      }
      prototype = ObjectGetPrototypeOf(prototype);
    }
  }
  throw notImplemented(name);
}

// Where sessions begin

/** A service binding: each call of it is a session of its own. */
class BindingState {
  constructor(target) {
    this.target = target;
  }
  call(path, args) {
    try {
      requireEvent("RPC");
      const { worker, entrypoint, props } = this.target;
      const rid = ops.op_rpc_open(currentId(), worker, entrypoint, props, path[0]);
      const session = new Session(rid, currentInvocation(), true);
      const answer = session.call(false, 0, path, args);
      session.listen();
      return answer;
    } catch (error) {
      return SettledAnswer.failed(error);
    }
  }
}

setMethodOf((target, name) => makeProperty(new BindingState(target), [name]));

/** A stub of a local object: a session of the isolate with itself, so that it behaves as any other stub. */
setMakeLocalStub((target) => {
  requireEvent("new RpcStub()");
  const { left, right } = ops.op_rpc_pair(currentId());
  const own = new Session(right, currentInvocation(), false);
  own.setRoot(target);
  own.listen();
  const session = new Session(left, currentInvocation(), true);
  session.listen();
  return session.importStub(0);
});

/** Answers the calls of a session that another Worker has opened. */
function dispatchRpc(id, entrypoint, rid, props) {
  const invocation = new Invocation(id, props === "" ? {} : JSONParse(props));
  enterInvocation(invocation);
  const session = new Session(rid, invocation, false, true);
  session.setRoot(new Root(() => receiverOf(invocation, entrypoint)));
  session.listen();
}

export { dispatchRpc };
