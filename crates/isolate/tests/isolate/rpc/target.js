// The Worker whose methods the cases call. The same in workerd and in Skep.

import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

const notes = [];
let kept;

class Counter extends RpcTarget {
  #count;
  own = "own";
  constructor(count = 0) {
    super();
    this.#count = count;
  }
  increment(by = 1) {
    return (this.#count += by);
  }
  get value() {
    return this.#count;
  }
  another(count) {
    return new Counter(count);
  }
  get inner() {
    return new Counter(50);
  }
  async fails() {
    throw new RangeError("mine");
  }
  [Symbol.dispose]() {
    notes.push(`disposed ${this.#count}`);
  }
}

class MyError extends Error {
  constructor(message) {
    super(message);
    this.name = "MyError";
    this.code = 7;
  }
}

class Plain {
  x = 1;
}

const throwers = {
  TypeError: () => { throw new TypeError("mine"); },
  MyError: () => { throw new MyError("mine"); },
  DOMException: () => { throw new DOMException("mine", "AbortError"); },
  text: () => { throw "mine"; },
  object: () => { throw { a: 1 }; },
  aggregate: () => { throw new AggregateError([new Error("inner")], "mine"); },
  cause: () => { throw Object.assign(new Error("mine", { cause: new RangeError("why") }), { extra: 9 }); },
};

export default class extends WorkerEntrypoint {
  own = 5;
  ownFunction = () => 6;
  static ofTheClass() {}
  #hidden() {}

  add(a, b) { return a + b; }
  count() { return arguments.length; }
  get prop() { return "prop"; }
  get object() { return { a: 1, f: () => 2 }; }
  get fn() { return () => "from a getter"; }
  notes() { return notes.splice(0); }
  counter(count) { return new Counter(count); }
  two() { return { a: new Counter(1), b: new Counter(2), n: 3 }; }
  list() { return [1, new Counter(3)]; }
  map() { return new Map([["double", (x) => x * 2]]); }
  double() { return (x) => x * 2; }
  callback(f) { return f(5); }
  async useCounter(counter) { return [await counter.value, await counter.increment(), typeof counter]; }
  same(value) { return value; }
  describe(value) { return [typeof value, value?.constructor?.name, Object.prototype.toString.call(value)]; }
  throws(how) { throwers[how](); }
  plain() { return new Plain(); }
  promise() { return { promise: Promise.resolve(1) }; }
  error() { return new MyError("value"); }
  nullPrototype() { return Object.create(null, { a: { value: 1, enumerable: true } }); }
  headers() { return new Headers({ a: "b" }); }
  request() { return new Request("http://x/y", { method: "POST", body: "hi", headers: { q: "1" } }); }
  response() { return new Response("body", { status: 201, statusText: "Made", headers: { a: "b" } }); }
  nobody() { return new Response(null, { status: 204 }); }
  async readRequest(request) { return [request.method, request.url, await request.text(), request.headers.get("q")]; }
  async readResponse(response) { return [response.status, await response.text()]; }
  stream() { return new Blob(["hello"]).stream(); }
  streamed() { return new Response(new Blob(["streamed"]).stream()); }
  readStream(stream) { return new Response(stream).text(); }
  async writeStream(stream) {
    const writer = stream.getWriter();
    for (const word of ["a", "b", "c"]) await writer.write(new TextEncoder().encode(word));
    await writer.close();
    return "written";
  }
  async abortStream(stream) {
    await stream.abort(new Error("mine"));
    return "aborted";
  }
  failingStream() {
    let pulls = 0;
    return new ReadableStream({ type: "bytes", pull(controller) { if (pulls++ === 0) controller.enqueue(new Uint8Array([65])); else controller.error(new Error("mine")); } });
  }
  keep(stub) {
    kept = stub.dup();
    this.ctx.waitUntil(this.useKept());
    return "kept";
  }
  async useKept() {
    for (let times = 0; times < 3; times++) {
      await scheduler.wait(1);
      notes.push(await kept(times));
    }
    kept[Symbol.dispose]();
  }
  keepWithoutDup(stub) {
    const later = scheduler.wait(1).then(() => stub(1));
    this.ctx.waitUntil(later.then((value) => notes.push(value), (error) => notes.push(`${error.name}: ${error.message}`)));
  }
  disposeArgument(stub) {
    stub[Symbol.dispose]();
    return "disposed";
  }
  big(bytes) { return new Uint8Array(bytes); }
  apply() { return "apply"; }
  dup() { return "dup"; }
  fetchNested() { return { fetch: () => "nested" }; }
  alarm() { return "alarm"; }
  webSocketMessage() { return "message"; }
  queue() { return "queue"; }
  async slow(milliseconds, value) {
    await scheduler.wait(milliseconds);
    return value;
  }
}

export class Named extends WorkerEntrypoint {
  who() { return `named ${this.ctx.props.role}`; }
}

export const object = {
  one(a) { return `one ${a}`; },
  three(a, env, ctx) { return `three ${a} ${typeof env} ${typeof ctx.waitUntil}`; },
};
