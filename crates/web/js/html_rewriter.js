// HTMLRewriter. https://developers.cloudflare.com/workers/runtime-apis/html-rewriter/
//
// The parser runs in the host, on a stack of its own. When it meets something that a handler wants to see, it stops and
// hands over a description (a "token"); the handler, which may be async, works on a JavaScript object made from it;
// what it changed goes back as one list, and the parser goes on. So a handler costs two op calls, however much it does.

import { core, primordials } from "ext:core/mod.js";
import { isResponse, Response } from "ext:skep_web/http.js";
import { bytesOf } from "ext:skep_web/streams.js";

const {
  ArrayPrototypePush,
  ObjectPrototypeIsPrototypeOf,
  ReflectApply,
  SafeArrayIterator,
  StringPrototypeToLowerCase,
  SymbolIterator,
  TypedArrayPrototypeGetByteLength,
  TypeError,
} = primordials;
const ops = core.ops;

const { ReadableStream, TransformStream } = core.loadExtScript("ext:deno_web/06_streams.js");

/** What all tokens share: a list of changes for the parser, and an end of life after the handler. */
class Token {
  #changes = [];
  #alive = true;
  #removed = false;

  /** Records a change `[kind, text, isHtml]`; streams and responses among the contents are read before the parser goes on. */
  static change(token, kind, text = "", options = undefined) {
    if (!token.#alive) {
      throw new TypeError("This content token is no longer valid. Content tokens are only valid during the execution of the relevant content handler.");
    }
    ArrayPrototypePush(token.#changes, [kind, isContentSource(text) ? text : `${text}`, options?.html === true]);
    return token;
  }

  static async finish(token) {
    token.#alive = false;
    for (const change of new SafeArrayIterator(token.#changes)) {
      if (typeof change[1] !== "string") change[1] = await readText(change[1]);
    }
    return token.#changes;
  }

  static markRemoved(token) {
    token.#removed = true;
  }

  get removed() {
    return this.#removed;
  }
}

const { change } = Token;

function isContentSource(content) {
  return ObjectPrototypeIsPrototypeOf(ReadableStream.prototype, content) || isResponse(content);
}

async function readText(content) {
  const response = isResponse(content) ? content : new Response(content);
  return await response.text();
}

/** Methods that insert around a token. */
class Positioned extends Token {
  before(content, options = undefined) {
    return change(this, "before", content, options);
  }
  after(content, options = undefined) {
    return change(this, "after", content, options);
  }
  replace(content, options = undefined) {
    Token.markRemoved(this);
    return change(this, "replace", content, options);
  }
  remove() {
    Token.markRemoved(this);
    return change(this, "remove");
  }
}

class Element extends Positioned {
  #tagName;
  #namespaceURI;
  #attributes;
  #endTagHandlers;

  constructor(token, endTagHandlers) {
    super();
    this.#tagName = token.name;
    this.#namespaceURI = token.namespace;
    this.#attributes = token.attributes;
    this.#endTagHandlers = endTagHandlers;
  }

  get tagName() {
    return this.#tagName;
  }
  set tagName(name) {
    change(this, "tagName", name);
    this.#tagName = StringPrototypeToLowerCase(`${name}`);
  }
  get namespaceURI() {
    return this.#namespaceURI;
  }
  get attributes() {
    return copyOf(this.#attributes)[SymbolIterator]();
  }

  #indexOf(name) {
    name = StringPrototypeToLowerCase(`${name}`);
    for (let index = 0; index < this.#attributes.length; index += 1) {
      if (this.#attributes[index][0] === name) return index;
    }
    return -1;
  }

  getAttribute(name) {
    const index = this.#indexOf(name);
    return index < 0 ? null : this.#attributes[index][1];
  }
  hasAttribute(name) {
    return this.#indexOf(name) >= 0;
  }
  setAttribute(name, value) {
    change(this, "setAttribute", [`${name}`, `${value}`].join("\0"));
    const index = this.#indexOf(name);
    if (index < 0) ArrayPrototypePush(this.#attributes, [StringPrototypeToLowerCase(`${name}`), `${value}`]);
    else this.#attributes[index] = [this.#attributes[index][0], `${value}`];
    return this;
  }
  removeAttribute(name) {
    change(this, "removeAttribute", name);
    const index = this.#indexOf(name);
    if (index >= 0) this.#attributes = without(this.#attributes, index);
    return this;
  }
  prepend(content, options = undefined) {
    return change(this, "prepend", content, options);
  }
  append(content, options = undefined) {
    return change(this, "append", content, options);
  }
  setInnerContent(content, options = undefined) {
    return change(this, "setInnerContent", content, options);
  }
  removeAndKeepContent() {
    Token.markRemoved(this);
    return change(this, "removeAndKeepContent");
  }
  onEndTag(handler) {
    if (typeof handler !== "function") throw new TypeError("onEndTag() needs a function");
    ArrayPrototypePush(this.#endTagHandlers, handler);
    change(this, "onEndTag", `${this.#endTagHandlers.length - 1}`);
  }
}

class EndTag extends Token {
  #name;

  constructor(token) {
    super();
    this.#name = token.name;
  }
  get name() {
    return this.#name;
  }
  set name(name) {
    change(this, "tagName", name);
    this.#name = StringPrototypeToLowerCase(`${name}`);
  }
  before(content, options = undefined) {
    return change(this, "before", content, options);
  }
  after(content, options = undefined) {
    return change(this, "after", content, options);
  }
  remove() {
    Token.markRemoved(this);
    return change(this, "remove");
  }
}

class Comment extends Positioned {
  #text;

  constructor(token) {
    super();
    this.#text = token.text;
  }
  get text() {
    return this.#text;
  }
  set text(text) {
    change(this, "setText", text);
    this.#text = `${text}`;
  }
}

class Text extends Positioned {
  #text;
  #last;

  constructor(token) {
    super();
    this.#text = token.text;
    this.#last = token.last;
  }
  get text() {
    return this.#text;
  }
  get lastInTextNode() {
    return this.#last;
  }
}

class Doctype extends Token {
  #token;

  constructor(token) {
    super();
    this.#token = token;
  }
  get name() {
    return this.#token.name;
  }
  get publicId() {
    return this.#token.publicId;
  }
  get systemId() {
    return this.#token.systemId;
  }
  remove() {
    Token.markRemoved(this);
    return change(this, "remove");
  }
}

class DocumentEnd extends Token {
  append(content, options = undefined) {
    return change(this, "append", content, options);
  }
}

function copyOf(pairs) {
  const copy = [];
  for (const pair of new SafeArrayIterator(pairs)) ArrayPrototypePush(copy, [pair[0], pair[1]]);
  return copy;
}

function without(list, index) {
  const rest = [];
  for (let other = 0; other < list.length; other += 1) {
    if (other !== index) ArrayPrototypePush(rest, list[other]);
  }
  return rest;
}

const TOKENS = {
  __proto__: null,
  element: (token, endTagHandlers) => new Element(token, endTagHandlers),
  endTag: (token) => new EndTag(token),
  comment: (token) => new Comment(token),
  text: (token) => new Text(token),
  doctype: (token) => new Doctype(token),
  end: () => new DocumentEnd(),
};

const ELEMENT_METHODS = ["element", "comments", "text"];
const DOCUMENT_METHODS = ["doctype", "comments", "text", "end"];

class HTMLRewriter {
  /** One entry for each call of `on()` and `onDocument()`: `{ selector, methods, handlers }`. */
  #rules = [];

  on(selector, handlers) {
    selector = `${selector}`;
    ops.op_html_check_selector(selector);
    ArrayPrototypePush(this.#rules, rule(selector, handlers, ELEMENT_METHODS));
    return this;
  }

  onDocument(handlers) {
    ArrayPrototypePush(this.#rules, rule(null, handlers, DOCUMENT_METHODS));
    return this;
  }

  transform(response) {
    if (!isResponse(response)) throw new TypeError("HTMLRewriter.transform() needs a Response");
    if (response.body === null) return response;
    const rules = this.#rules;
    const charset = /charset\s*=\s*"?([^\s;"]+)/i.exec(response.headers.get("content-type") ?? "")?.[1] ?? "utf-8";
    const transformed = new Response(response.body.pipeThrough(rewriting(rules, charset)), response);
    transformed.headers.delete("content-length");
    return transformed;
  }
}

function rule(selector, handlers, methods) {
  if (typeof handlers !== "object" || handlers === null) {
    throw new TypeError(`HTMLRewriter needs an object with handlers (${methods.join(", ")})`);
  }
  const wanted = [];
  for (const method of new SafeArrayIterator(methods)) {
    if (typeof handlers[method] === "function") ArrayPrototypePush(wanted, method);
  }
  return { selector, wanted, handlers };
}

/** A TransformStream that rewrites the bytes of a document. */
function rewriting(rules, charset) {
  let rid;
  const endTagHandlers = [];

  async function run(token, controller) {
    while (token !== null) {
      const handled = TOKENS[token.kind](token, endTagHandlers);
      await callHandler(rules, endTagHandlers, token, handled);
      token = ops.op_html_resume(rid, await Token.finish(handled));
    }
    const output = ops.op_html_output(rid);
    if (TypedArrayPrototypeGetByteLength(output) > 0) controller.enqueue(output);
  }

  return new TransformStream({
    start() {
      const description = [];
      for (const { selector, wanted } of new SafeArrayIterator(rules)) ArrayPrototypePush(description, { selector, wanted });
      rid = ops.op_html_start(description, charset);
    },
    async transform(chunk, controller) {
      try {
        await run(ops.op_html_write(rid, bytesOf(chunk, "HTMLRewriter")), controller);
      } catch (error) {
        core.tryClose(rid);
        throw error;
      }
    },
    async flush(controller) {
      try {
        await run(ops.op_html_end(rid), controller);
      } finally {
        core.tryClose(rid);
      }
    },
    cancel() {
      core.tryClose(rid);
    },
  });
}

function callHandler(rules, endTagHandlers, token, handled) {
  if (token.kind === "endTag") return endTagHandlers[token.handler](handled);
  const { handlers } = rules[token.handler];
  return ReflectApply(handlers[token.method], handlers, [handled]);
}

export { HTMLRewriter };
