// Whose code runs, for the meter of CPU time.
//
// The host calls a handler and knows whose it is. What goes on later says so: timers and sockets call `runs()`, and ops that are done go
// on one by one if there are several events, each with all that follows at once.

import { core, primordials } from "ext:core/mod.js";

const { ObjectCreate, ReflectApply, Uint32Array } = primordials;
const { getAsyncContext } = core;
const ops = core.ops;

/** Shared with the host: the number of the event whose code runs, 0 for nobody's, and whether there are several events. */
let turns;

/** Makes what is shared with the host. */
function watchTurns() {
  turns = new Uint32Array(2);
  return turns;
}

/** The event that V8 carries along goes on. */
function runs() {
  const id = getAsyncContext()?.invocation?.id ?? 0;
  if (turns[0] !== id) ops.op_event_runs(id);
}

/** What V8 calls before a continuation. It need not be asked again: with it asked, each `await` costs three times as much. */
function before() {
  ops.op_set_promise_hooks(undefined, undefined, undefined, undefined);
  runs();
}

/**
 * What deno_core calls with ops that are done: the number of each, whether it went well, and what it gave. With several events they go on
 * one after the other.
 */
function eventLoopTick() {
  if (turns === undefined || turns[1] === 0) {
    ReflectApply(core.__eventLoopTick, undefined, arguments);
    return;
  }
  for (let index = 0; index < arguments.length; index += 3) {
    // The first that goes on was attached to the op's promise when the op was called, and is of the event that called it.
    ops.op_set_promise_hooks(undefined, before, undefined, undefined);
    core.__eventLoopTick(arguments[index], arguments[index + 1], arguments[index + 2]);
    core.__drainNextTickAndMacrotasks();
  }
}

// Each isolate that is made from the snapshot looks for it there. The object itself is frozen.
globalThis.Deno.core = ObjectCreate(core, {
  __proto__: null,
  __eventLoopTick: { __proto__: null, value: eventLoopTick },
});

export { runs, watchTurns };
