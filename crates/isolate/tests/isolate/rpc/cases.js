// What a Worker sees of another one's methods, case by case. The same in workerd and in Skep: `record.mjs` records what workerd
// answers, `rpc.rs` compares.

import { RpcPromise, RpcStub, RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

let disposed = 0;

class Local extends RpcTarget {
  own = 1;
  #count = 4;
  get value() {
    return this.#count;
  }
  increment() {
    return ++this.#count;
  }
  [Symbol.dispose]() {
    disposed += 1;
  }
}

export class Loop extends WorkerEntrypoint {
  hi() {
    return `hi ${JSON.stringify(this.ctx.props)}`;
  }
}

/** Waits until a function gives something other than undefined. */
async function until(look) {
  for (let times = 0; times < 1_000; times++) {
    const found = await look();
    if (found !== undefined) return found;
    await scheduler.wait(2);
  }
  return "it never came";
}

/** The other Worker's notes, when there are so many. */
async function notes(env, count) {
  const all = [];
  return until(async () => {
    all.push(...await env.T.notes());
    return all.length >= count ? all : undefined;
  });
}

function isRemote(error) {
  return error?.remote === true;
}

async function outcome(promise) {
  try {
    return await promise;
  } catch (error) {
    return show(error);
  }
}

function show(value) {
  if (value === undefined) return "<undefined>";
  if (typeof value === "function") return `<${value.constructor.name}>`;
  if (value instanceof Error || isRemote(value)) return `<${value.name}: ${value.message}${isRemote(value) ? " (remote)" : ""}>`;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(show);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, show(inner)]));
}

const bytes = (text) => new Blob([text]).stream();
const thrown = async (env, how) => { try { await env.T.throws(how); } catch (error) { return error; } };

const cases = {
  // Calls and properties
  "call": (env) => env.T.add(1, 2),
  "call.arguments": (env) => env.T.count(1, undefined, null),
  "call.twice.at.once": (env) => Promise.all([env.T.slow(5, "a"), env.T.slow(1, "b"), env.T.add(1, 1)]),
  "property": (env) => env.T.prop,
  "property.nested": (env) => env.T.object.a,
  "property.function": (env) => env.T.object.f(),
  "property.getter.function": (env) => env.T.fn(),
  "property.method": async (env) => { using add = await env.T.add; return [typeof add, await add(1, 2)]; },
  "property.object": async (env) => { using object = await env.T.object; return [Object.keys(object), await object.f(), typeof object[Symbol.dispose]]; },
  "named.props": (env) => env.NAMED.who(),
  "object.one": (env) => env.OBJECT.one("a"),
  "object.three": (env) => env.OBJECT.three("a"),
  "exports": (env, ctx) => ctx.exports.Loop.hi(),
  "exports.props": (env, ctx) => ctx.exports.Loop({ props: { a: 1 } }).hi(),
  // What may not be called
  "private.own": (env) => env.T.own,
  "private.own.function": (env) => env.T.ownFunction(),
  "private.missing": (env) => env.T.missing(),
  "private.missing.property": (env) => env.T.missing,
  "private.env": (env) => env.T.env,
  "private.ctx": (env) => env.T.ctx,
  "private.static": (env) => env.T.ofTheClass(),
  "private.constructor": (env) => env.T.object.constructor("x"),
  "private.prototype": (env) => env.T.__proto__.add(1, 2),
  "private.of.a.prototype": async (env) => { using counter = await env.T.counter(1); return outcome(counter.hasOwnProperty("own")).then(() => "local"); },
  "private.target.own": async (env) => { using counter = await env.T.counter(1); return await outcome(counter.own); },
  "private.target.missing": async (env) => { using counter = await env.T.counter(1); return await outcome(counter.missing()); },
  "private.of.a.number": async (env) => { using counter = await env.T.counter(1); return await outcome(counter.value.missing()); },
  "not.a.function": async (env) => { using counter = await env.T.counter(1); return await outcome(counter.value()).then((text) => text.slice(0, 10)); },
  "reserved.dup": (env) => env.T.dup(),
  "reserved.alarm": (env) => env.T.alarm(),
  "reserved.websocket": (env) => env.T.webSocketMessage(),
  "reserved.fetch.is.http": (env) => env.T.fetch("http://x/"),
  "allowed.queue": (env) => env.T.queue(),
  "allowed.apply": (env) => env.T.apply(),
  // Stubs
  "stub": async (env) => { using counter = await env.T.counter(5); return [typeof counter, String(counter), counter instanceof RpcStub, counter.constructor.name, Object.keys(counter), await counter.increment(), await counter.value]; },
  "stub.of.stub": async (env) => { using counter = await env.T.counter(5); using another = await counter.another(10); return [await another.increment(), await counter.increment()]; },
  "stub.error": async (env) => { using counter = await env.T.counter(5); return await outcome(counter.fails()); },
  "stub.function": async (env) => { using double = await env.T.double(); return [typeof double, await double(4)]; },
  "stub.in.a.list": async (env) => { using list = await env.T.list(); return [Array.isArray(list), list.length, await list[1].value]; },
  "stub.in.a.map": async (env) => { using map = await env.T.map(); return [map instanceof Map, await map.get("double")(4)]; },
  "stub.back": async (env) => { using counter = await env.T.counter(9); using same = await env.T.same(counter); return [await same.increment(), await counter.value]; },
  "stub.is.no.promise": async (env) => { using counter = await env.T.counter(9); return typeof counter.then; },
  "stub.local": async () => { using stub = new RpcStub(new Local()); return [typeof stub, await stub.increment(), await outcome(stub.own)]; },
  "stub.local.function": async () => { using stub = new RpcStub((x) => x + 1); return await stub(1); },
  "stub.local.of.nothing": () => new RpcStub(5),
  "stub.class": () => structuredClone(new Local()),
  // Promises
  "pipeline": (env) => env.T.counter(7).increment(3),
  "pipeline.deep": (env) => env.T.counter(7).another(20).another(100).value,
  "pipeline.property": (env) => env.T.two().n,
  "pipeline.property.call": (env) => env.T.two().b.increment(),
  "pipeline.getter": (env) => env.T.counter(1).inner.increment(),
  "pipeline.function": (env) => env.T.double()(4),
  "pipeline.error": (env) => env.T.throws("TypeError").any.thing(),
  "pipeline.after.await": async (env) => { const promise = env.T.counter(1); using counter = await promise; return [await promise.increment(), await counter.increment(), counter === await promise]; },
  "pipeline.of.a.slow.call": async (env) => { const slow = env.T.slow(5, { a: { b: 5 } }); return [await slow.a.b, (await slow).a.b]; },
  "promise": (env) => { const promise = env.T.add(1, 2); return [typeof promise, promise.constructor.name, promise instanceof RpcPromise, promise instanceof Promise, typeof promise.then, typeof promise.catch, typeof promise.finally]; },
  "promise.then": (env) => env.T.add(1, 2).then((sum) => sum * 2),
  "promise.catch": (env) => env.T.throws("TypeError").catch((error) => error.message),
  "promise.finally": async (env) => { let seen = 0; await env.T.add(1, 2).finally(() => seen++); return seen; },
  "promise.constructor": () => new RpcPromise(),
  "promise.as.argument": (env) => env.T.describe(env.T.counter(9)),
  "promise.of.all": (env) => Promise.all([env.T.add(1, 2), env.T.prop]),
  // Arguments and results
  "value.number": async (env) => typeof await env.T.same(5),
  "value.bigint": async (env) => String(await env.T.same(2n ** 70n)),
  "value.undefined": (env) => env.T.same(undefined),
  "value.date": async (env) => (await env.T.same(new Date(5))).getTime(),
  "value.regexp": async (env) => String(await env.T.same(/a/gi)),
  "value.bytes": async (env) => [...await env.T.same(new Uint8Array([1, 2]))],
  "value.buffer": async (env) => (await env.T.same(new ArrayBuffer(4))).byteLength,
  "value.map": async (env) => [...await env.T.same(new Map([[1, { a: new Set([2]) }]]))].map(([key, { a }]) => [key, ...a]),
  "value.cycle": async (env) => { const value = { list: [1] }; value.self = value; value.again = value.list; const same = await env.T.same(value); return [same.self === same, same.again === same.list]; },
  "value.proto.key": async (env) => Object.keys(await env.T.same(JSON.parse('{"__proto__": 1, "a": 2}'))),
  "value.holes": async (env) => (await env.T.same([1, , 3])).length,
  "value.boxed": async (env) => typeof await env.T.same(Object(5)),
  "value.error": async (env) => { const error = await env.T.error(); return [error, error.constructor.name, error.code, isRemote(error)]; },
  "value.dom.exception": async (env) => { const error = await env.T.same(new DOMException("m", "AbortError")); return [error instanceof DOMException, error.name, error.message]; },
  "value.function": async (env) => await env.T.describe(() => 1),
  "value.target": async (env) => await env.T.describe(new Local()),
  "value.class": (env) => env.T.same(class {}),
  "value.binding": async (env) => { const binding = await env.T.same(env.T); return [typeof binding, binding.constructor.name, await binding.add(1, 1)]; },
  "value.instance": (env) => env.T.same(new (class Foo {})()),
  "value.instance.back": (env) => env.T.plain(),
  "value.subclass.of.array": async (env) => Array.isArray(await env.T.same(new (class extends Array {})())),
  "value.subclass.of.error": async (env) => (await env.T.same(new (class Mine extends Error {})("m"))).message,
  "value.null.prototype": (env) => env.T.nullPrototype(),
  "value.symbol": (env) => env.T.same(Symbol("x")),
  "value.promise": (env) => outcome(env.T.same(Promise.resolve(5))).then((text) => text.slice(0, 16)),
  "value.promise.back": (env) => outcome(env.T.promise()).then((text) => text.slice(0, 16)),
  "value.weak.map": (env) => outcome(env.T.same(new WeakMap())).then((text) => text.slice(0, 16)),
  "value.form.data": (env) => env.T.same(new FormData()),
  "value.url": (env) => env.T.same(new URL("http://x")),
  "value.port": (env) => env.T.same(new Event("x")),
  "value.transform.stream": (env) => env.T.same(new TransformStream()),
  "value.websocket": (env) => env.T.same(new WebSocketPair()[0]),
  "value.shared.buffer": (env) => outcome(env.T.same(new SharedArrayBuffer(1))).then((text) => text.startsWith("<")),
  "value.imitated": (env) => outcome(env.T.same({ [Symbol.for("Deno.core.hostObject")]: () => ({ type: "SkepRpc", index: 0 }) })).then(Object.keys),
  "size.result": (env) => env.T.big(33 * 1024 * 1024).then(() => "came", (error) => [error.name, isRemote(error), error.message.slice(0, 75)]),
  "size.argument": (env) => env.T.describe(new Uint8Array(33 * 1024 * 1024)).then(() => "came", (error) => [error.name, isRemote(error), error.message.slice(0, 75)]),
  "size.allowed": async (env) => (await env.T.same(new Uint8Array(20 * 1024 * 1024))).length,
  // Requests, responses, streams
  "headers": async (env) => { const headers = await env.T.headers(); return [headers instanceof Headers, headers.get("a")]; },
  "request": async (env) => { const request = await env.T.request(); return [request instanceof Request, request.method, request.url, await request.text(), request.headers.get("q")]; },
  "request.argument": (env) => env.T.readRequest(new Request("http://a/b", { method: "PUT", body: "up", headers: { q: "2" } })),
  "request.argument.stream": (env) => env.T.readRequest(new Request("http://a/b", { method: "PUT", body: bytes("up") })),
  "request.used": async (env) => { const request = new Request("http://a/b", { method: "PUT", body: "up" }); await request.text(); return (await outcome(env.T.readRequest(request))).slice(0, 10); },
  "response": async (env) => { const response = await env.T.response(); return [response instanceof Response, response.status, response.statusText, await response.text(), [...response.headers].join()]; },
  "response.nobody": async (env) => { const response = await env.T.nobody(); return [response.status, response.body]; },
  "response.streamed": async (env) => (await env.T.streamed()).text(),
  "response.argument": (env) => env.T.readResponse(new Response("up", { status: 404 })),
  "stream": async (env) => { const stream = await env.T.stream(); return [stream instanceof ReadableStream, await new Response(stream).text()]; },
  "stream.argument": (env) => env.T.readStream(bytes("yo")),
  "stream.through.both": async (env) => new Response(await env.T.same(bytes("there and back"))).text(),
  "stream.locked": async (env) => { const stream = bytes("x"); stream.getReader(); return (await outcome(env.T.readStream(stream))).slice(0, 10); },
  "stream.fails": async (env) => { const stream = await env.T.failingStream(); try { await new Response(stream).text(); } catch { return "broke off"; } },
  "writable": async (env) => { const { readable, writable } = new IdentityTransformStream(); const written = env.T.writeStream(writable); return [await new Response(readable).text(), await written]; },
  "writable.own": async (env) => { const seen = []; await env.T.writeStream(new WritableStream({ write(chunk) { seen.push(new TextDecoder().decode(chunk)); }, close() { seen.push("closed"); } })); return until(() => seen.includes("closed") ? [seen.join("")] : undefined); },
  "writable.aborted": async (env) => { const seen = []; await env.T.abortStream(new WritableStream({ abort(reason) { seen.push(reason instanceof Error); } })); return until(() => seen.length > 0 ? seen : undefined); },
  // Errors
  "error.type": async (env) => [await thrown(env, "TypeError"), await thrown(env, "TypeError") instanceof TypeError],
  "error.own": async (env) => { const error = await thrown(env, "MyError"); return [error, error.constructor.name, error.code]; },
  "error.dom": async (env) => { const error = await thrown(env, "DOMException"); return [error, error instanceof DOMException]; },
  "error.text": (env) => thrown(env, "text"),
  "error.object": async (env) => { const error = await thrown(env, "object"); return [error.a, isRemote(error), error instanceof Error]; },
  "error.aggregate": async (env) => { const error = await thrown(env, "aggregate"); return [error, error.constructor.name, error.errors]; },
  "error.cause": async (env) => { const error = await thrown(env, "cause"); return [error, error.cause, error.extra]; },
  "error.stack": async (env) => { const error = await thrown(env, "TypeError"); return [typeof error.stack, /throwers|target/.test(error.stack)]; },
  "error.of.a.callback": (env) => env.T.callback(() => { throw new SyntaxError("mine"); }),
  // Callbacks
  "callback": (env) => env.T.callback((x) => x + 1),
  "callback.async": (env) => env.T.callback(async (x) => { await scheduler.wait(1); return x + 1; }),
  "callback.calls.back": (env) => env.T.callback((x) => env.T.add(x, 1)),
  "callback.target": (env) => env.T.useCounter(new Local()),
  "callback.kept": async (env) => { await env.T.notes(); const seen = []; await env.T.keep((x) => { seen.push(x); return `kept ${x}`; }); return [await notes(env, 3), seen]; },
  "callback.not.kept": async (env) => { await env.T.notes(); await env.T.keepWithoutDup((x) => x); return notes(env, 1); },
  // Disposal
  "dispose.argument": async (env) => { disposed = 0; await env.T.describe(new Local()); return until(() => disposed > 0 ? disposed : undefined); },
  "dispose.argument.early": async (env) => { disposed = 0; return [await env.T.disposeArgument(new Local()), await until(() => disposed > 0 ? disposed : undefined)]; },
  "dispose.result": async (env) => { await env.T.notes(); { using result = await env.T.two(); await result.a.increment(5); } return notes(env, 2); },
  "dispose.part.of.a.result": async (env) => { await env.T.notes(); const result = await env.T.two(); result.b[Symbol.dispose](); const seen = await notes(env, 1); return [seen, await result.a.increment()]; },
  "dispose.then.use": async (env) => { const counter = await env.T.counter(1); counter[Symbol.dispose](); return outcome(counter.increment()); },
  "dispose.dup": async (env) => { const counter = await env.T.counter(1); const dup = counter.dup(); counter[Symbol.dispose](); const value = await dup.increment(); dup[Symbol.dispose](); return [value, await outcome(dup.increment())]; },
  "dispose.local": async () => { disposed = 0; { using stub = new RpcStub(new Local()); await stub.increment(); } return until(() => disposed > 0 ? disposed : undefined); },
  "dispose.twice": async (env) => { const counter = await env.T.counter(1); counter[Symbol.dispose](); counter[Symbol.dispose](); return "fine"; },
  "dispose.is.there": async (env) => { const result = await env.T.two(); const { enumerable } = Object.getOwnPropertyDescriptor(result, Symbol.dispose); return [typeof result[Symbol.dispose], enumerable, Object.keys(result)]; },
};

export default {
  async fetch(request, env, ctx) {
    const answers = {};
    for (const [name, run] of Object.entries(cases)) {
      const patience = scheduler.wait(5_000).then(() => "it never settles");
      answers[name] = show(await outcome(Promise.race([Promise.resolve().then(() => run(env, ctx)), patience])));
    }
    return Response.json(answers);
  },
};
