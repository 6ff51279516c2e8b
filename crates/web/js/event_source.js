// EventSource: a client of server-sent events over fetch(), and `EventSource.from(stream)`.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
// https://developers.cloudflare.com/workers/runtime-apis/eventsource/

import { core, primordials } from "ext:core/mod.js";
import { currentInvocation } from "ext:skep_web/context.js";
import { fetch } from "ext:skep_web/fetch.js";

const { NumberParseInt, ObjectDefineProperties, RegExpPrototypeTest, ReflectApply, SafeRegExp, StringPrototypeIndexOf, StringPrototypeSlice, StringPrototypeStartsWith, TypeError } = primordials;

const { defineEventHandler, Event, EventTarget, MessageEvent, setIsTrusted } = core.loadExtScript("ext:deno_web/02_event.js");
const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");
const { URL } = core.loadExtScript("ext:deno_web/00_url.js");
const { ReadableStream } = core.loadExtScript("ext:deno_web/06_streams.js");
const { TextDecoder } = core.loadExtScript("ext:deno_web/08_text_encoding.js");
const { AbortController } = core.loadExtScript("ext:deno_web/03_abort_signal.js");
const timers = core.loadExtScript("ext:deno_web/02_timers.js");

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 2;
const FIRST_RETRY_MILLISECONDS = 2_000;
const DIGITS = new SafeRegExp(/^[0-9]+$/);

class EventSource extends EventTarget {
  #url = null;
  #withCredentials;
  #readyState = CONNECTING;
  #lastEventId = "";
  #retry = FIRST_RETRY_MILLISECONDS;
  #abort = new AbortController();
  #timer;
  #fetch;

  constructor(url, init = undefined) {
    super();
    if (ReadableStream.prototype.isPrototypeOf(url)) {
      this.#keepAlive(this.#read(url, false));
      return;
    }
    if (arguments.length === 0) throw new TypeError("EventSource needs a URL");
    try {
      this.#url = new URL(`${url}`).href;
    } catch {
      throw new DOMException(`"${url}" is not a URL that an EventSource can connect to`, "SyntaxError");
    }
    this.#withCredentials = init?.withCredentials === true;
    const fetcher = init?.fetcher;
    this.#fetch = fetcher === undefined ? fetch : (...args) => fetcher.fetch(...args);
    this.#keepAlive(this.#connect());
  }

  /** Reads events from a stream of bytes instead of a URL. */
  static from(stream) {
    if (!ReadableStream.prototype.isPrototypeOf(stream)) throw new TypeError("EventSource.from() needs a ReadableStream");
    return new EventSource(stream);
  }

  get url() {
    return this.#url ?? "";
  }
  get withCredentials() {
    return this.#withCredentials === true;
  }
  get readyState() {
    return this.#readyState;
  }

  close() {
    this.#readyState = CLOSED;
    this.#abort.abort();
    if (this.#timer !== undefined) ReflectApply(timers.clearTimeout, globalThis, [this.#timer]);
  }

  #keepAlive(promise) {
    currentInvocation()?.waitUntil(promise);
  }

  async #connect() {
    const headers = { accept: "text/event-stream", "cache-control": "no-cache" };
    if (this.#lastEventId !== "") headers["last-event-id"] = this.#lastEventId;
    let response;
    try {
      response = await this.#fetch(this.#url, { headers, signal: this.#abort.signal });
    } catch {
      this.#reconnect();
      return;
    }
    const type = response.headers.get("content-type") ?? "";
    if (response.status !== 200 || !StringPrototypeStartsWith(type, "text/event-stream")) {
      await response.body?.cancel();
      this.#fail();
      return;
    }
    await this.#read(response.body, true);
  }

  async #read(stream, reconnects) {
    if (this.#readyState === CLOSED) return;
    this.#readyState = OPEN;
    this.#dispatch(new Event("open"));
    try {
      const parser = new Parser(this.#lastEventId);
      const decoder = new TextDecoder();
      const reader = stream.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done || this.#readyState === CLOSED) break;
        for (const message of parser.push(decoder.decode(value, { stream: true }))) {
          if (message.retry !== undefined) this.#retry = message.retry;
          else this.#deliver(message);
        }
      }
    } catch {
      // A broken connection ends like a finished one.
    }
    if (reconnects) this.#reconnect();
    else this.#fail();
  }

  #deliver({ type, data, id }) {
    this.#lastEventId = id;
    this.#dispatch(new MessageEvent(type, { data, lastEventId: id, origin: this.#url === null ? "" : new URL(this.#url).origin }));
  }

  #dispatch(event) {
    if (this.#readyState === CLOSED && event.type !== "error") return;
    setIsTrusted(event, true);
    this.dispatchEvent(event);
  }

  #fail() {
    if (this.#readyState === CLOSED) return;
    this.#readyState = CLOSED;
    this.#dispatch(new Event("error"));
  }

  #reconnect() {
    if (this.#readyState === CLOSED) return;
    this.#readyState = CONNECTING;
    this.#dispatch(new Event("error"));
    this.#timer = ReflectApply(timers.setTimeout, globalThis, [() => {
      if (this.#readyState === CONNECTING) this.#keepAlive(this.#connect());
    }, this.#retry]);
  }
}

/** Takes text as it comes, gives messages `{ type, data, id }` and changes of the time to wait `{ retry }`. */
class Parser {
  #rest = "";
  #data = null;
  #type = "";
  #id;
  #sawCarriageReturn = false;

  constructor(lastEventId) {
    this.#id = lastEventId;
  }

  *push(text) {
    this.#rest += text;
    for (;;) {
      if (this.#sawCarriageReturn && this.#rest !== "") {
        if (this.#rest[0] === "\n") this.#rest = StringPrototypeSlice(this.#rest, 1);
        this.#sawCarriageReturn = false;
      }
      const end = this.#endOfLine();
      if (end < 0) return;
      const line = StringPrototypeSlice(this.#rest, 0, end);
      this.#sawCarriageReturn = this.#rest[end] === "\r";
      this.#rest = StringPrototypeSlice(this.#rest, end + 1);
      const message = this.#line(line);
      if (message !== undefined) yield message;
    }
  }

  #endOfLine() {
    const feed = StringPrototypeIndexOf(this.#rest, "\n");
    const carriage = StringPrototypeIndexOf(this.#rest, "\r");
    if (feed < 0 || carriage < 0) return feed < 0 ? carriage : feed;
    return feed < carriage ? feed : carriage;
  }

  #line(line) {
    if (line === "") return this.#endOfMessage();
    const colon = StringPrototypeIndexOf(line, ":");
    const field = colon < 0 ? line : StringPrototypeSlice(line, 0, colon);
    let value = colon < 0 ? "" : StringPrototypeSlice(line, colon + 1);
    if (StringPrototypeStartsWith(value, " ")) value = StringPrototypeSlice(value, 1);
    if (field === "data") this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
    else if (field === "event") this.#type = value;
    else if (field === "id" && StringPrototypeIndexOf(value, "\0") < 0) this.#id = value;
    else if (field === "retry" && RegExpPrototypeTest(DIGITS, value)) return { retry: NumberParseInt(value, 10) };
    return undefined;
  }

  #endOfMessage() {
    const data = this.#data;
    const type = this.#type === "" ? "message" : this.#type;
    this.#data = null;
    this.#type = "";
    return data === null ? undefined : { type, data, id: this.#id };
  }
}

for (const name of ["open", "message", "error"]) defineEventHandler(EventSource.prototype, name);
for (const name in { CONNECTING, OPEN, CLOSED }) {
  const property = { [name]: { __proto__: null, value: { CONNECTING, OPEN, CLOSED }[name], enumerable: true } };
  ObjectDefineProperties(EventSource, property);
  ObjectDefineProperties(EventSource.prototype, property);
}

export { EventSource };
