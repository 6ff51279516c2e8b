// Which event is being handled, so that code after an `await` still knows its event.
//
// V8 carries one value along every promise reaction (its continuation-preserved data); the runtime's timers carry it
// along too. Ours is an object with the property `invocation`. Everything that belongs to one event hangs there: its
// console lines, its count of subrequests, its `waitUntil()` promises. Not here: what an event means to a handler.

import { core, primordials } from "ext:core/mod.js";

const { Error, PromisePrototypeThen, PromiseResolve, TypeError } = primordials;
const { getAsyncContext, setAsyncContext } = core;
const ops = core.ops;

/** Whether the top level of the Worker's modules is running: there is no event yet, and none may be waited for. */
let starting = false;

/** Marks the beginning and the end of loading the Worker's modules. */
function setStarting(value) {
  starting = value;
}

let over = () => {};

/** Hands over what is to be done when an event's last promise is settled. */
function setOver(callback) {
  over = callback;
}

/** One call of a handler. `id` is the host's number for it, never 0. */
class Invocation {
  id;
  props;
  /** Promises that keep the event alive: the handler's own and those of `waitUntil()`. */
  pending = 1;
  passThrough = false;
  /** Itself: it is what V8 carries along. */
  invocation;

  constructor(id, props) {
    this.id = id;
    this.props = props;
    this.invocation = this;
  }

  waitUntil(promise) {
    if (this.pending === 0) {
      throw new TypeError(
        "waitUntil() was called after its event had ended: call it while the handler or an earlier waitUntil() promise is still running.",
      );
    }
    this.pending += 1;
    PromisePrototypeThen(PromiseResolve(promise), () => this.release(), (error) => {
      reportException(error, this);
      this.release();
    });
  }

  /** One promise less. After the last one the event is over. */
  release() {
    this.pending -= 1;
    if (this.pending === 0) {
      over(this.id);
      ops.op_event_settled(this.id);
    }
  }
}

/** Makes the running code, and all that continues it later, part of an event. */
function enterInvocation(invocation) {
  setAsyncContext(invocation);
}

/** The event that the running code belongs to, or undefined at the top level. */
function currentInvocation() {
  return getAsyncContext()?.invocation;
}

/** The host's number for the current event, 0 outside of any. */
function currentId() {
  return getAsyncContext()?.invocation?.id ?? 0;
}

/** Throws where Workers do: there is nothing to wait for, and no one to answer, before there is an event. */
function requireEvent(what) {
  if (starting) {
    throw new Error(
      `Disallowed operation called within global scope: ${what}. Asynchronous I/O (such as fetch()), setting a timeout and generating random values are not allowed while modules are loaded. Do it inside a handler.`,
    );
  }
}

let inspectValue = (value) => `${value}`;
let cleanStack = (stack) => stack;

/** Hands over the console's inspect and what cleans a stack, which are loaded after this module. */
function setInspect(inspect, withoutPlatformFrames) {
  inspectValue = inspect;
  cleanStack = withoutPlatformFrames;
}

/** Shows an error that nobody catches in the log of its event, with its stack. */
function reportException(error, invocation = currentInvocation()) {
  const { name, message, stack } = describeError(error);
  ops.op_exception(invocation?.id ?? 0, name, message, stack);
}

/** Name, message and stack of whatever was thrown. Never throws itself. */
function describeError(error) {
  try {
    if (typeof error === "object" && error !== null && "message" in error) {
      const stack = error.stack;
      return { name: `${error.name ?? "Error"}`, message: `${error.message}`, stack: typeof stack === "string" ? cleanStack(stack) : "" };
    }
    return { name: "Error", message: `Uncaught ${inspectValue(error)}`, stack: "" };
  } catch {
    return { name: "Error", message: "Uncaught value that cannot be shown", stack: "" };
  }
}

export {
  currentId,
  currentInvocation,
  describeError,
  enterInvocation,
  Invocation,
  reportException,
  requireEvent,
  setInspect,
  setOver,
  setStarting,
};
