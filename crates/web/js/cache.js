// The Cache API: `caches.default` and `caches.open(name)`. https://developers.cloudflare.com/workers/runtime-apis/cache/
//
// What is stored, for how long, and which conditional and range requests it answers is the host's work; here are the
// classes and the streams.

import { core, primordials } from "ext:core/mod.js";
import { currentId, requireEvent } from "ext:skep_web/context.js";
import { denoRequest, denoResponse, isRequest, isResponse, Request } from "ext:skep_web/http.js";
import { knownLength } from "ext:skep_web/streams.js";

const { ArrayPrototypePush, Error, ObjectPrototypeIsPrototypeOf, SafeArrayIterator, StringPrototypeIncludes, StringPrototypeSplit, StringPrototypeTrim, Symbol, TypeError } = primordials;
const ops = core.ops;

const streams = core.loadExtScript("ext:deno_web/06_streams.js");
const { InnerBody } = core.loadExtScript("ext:deno_fetch/22_body.js");

const _construct = Symbol("construct");

function flatten(list) {
  const flat = [];
  for (const header of new SafeArrayIterator(list)) ArrayPrototypePush(flat, header[0], header[1]);
  return flat;
}

/** The request of a cache call, as the standard's class. */
function toRequest(input) {
  return isRequest(input) ? input : new Request(input);
}

function notImplemented(method) {
  return () => {
    throw new Error(`Failed to execute '${method}' on 'Cache': the method is not implemented. Use match(), put() and delete().`);
  };
}

class Cache {
  #name;

  constructor(brand, name) {
    if (brand !== _construct) throw new TypeError("Illegal constructor");
    this.#name = name;
  }

  async put(input, response) {
    requireEvent("cache.put()");
    const request = toRequest(input);
    if (request.method !== "GET") throw new TypeError("Cannot cache response to non-GET request.");
    if (!isResponse(response)) throw new TypeError("cache.put() needs a Response as its second argument");
    if (response.status === 206) throw new TypeError("Cannot cache response to a range request (206 Partial Content).");
    const vary = response.headers.get("vary");
    if (vary !== null && StringPrototypeIncludes(vary, "*") && hasStar(vary)) {
      throw new TypeError("Cannot cache response with 'Vary: *' header.");
    }
    const inner = denoResponse.toInnerResponse(response);
    if (inner.body?.unusable()) throw new TypeError("Cannot cache a response whose body was used already: put response.clone() before it is read");
    const { data, rid } = bodyOf(inner);
    const list = flatten(denoResponse.wireHeaderList(inner));
    await ops.op_cache_put(currentId(), this.#name, request.url, inner.status, list, data, rid);
  }

  async match(input, options = undefined) {
    requireEvent("cache.match()");
    const request = toRequest(input);
    if (request.method !== "GET" && options?.ignoreMethod !== true) return undefined;
    const headers = flatten(denoRequest.toInnerRequest(request).headerList);
    const found = ops.op_cache_match(currentId(), this.#name, request.url, headers);
    return found === null ? undefined : toResponse(found);
  }

  async delete(input, options = undefined) {
    requireEvent("cache.delete()");
    const request = toRequest(input);
    if (request.method !== "GET" && options?.ignoreMethod !== true) return false;
    return ops.op_cache_delete(currentId(), this.#name, request.url);
  }

}

for (const name of ["add", "addAll", "matchAll", "keys"]) {
  primordials.ObjectDefineProperty(Cache.prototype, name, { __proto__: null, value: notImplemented(name), writable: true, enumerable: true, configurable: true });
}

function hasStar(vary) {
  for (const part of new SafeArrayIterator(StringPrototypeSplit(vary, ","))) {
    if (StringPrototypeTrim(part) === "*") return true;
  }
  return false;
}

/** The body of a response to store: bytes in hand, or a resource that streams. */
function bodyOf(inner) {
  if (inner.body === null) return { data: null, rid: 0 };
  const source = inner.body.streamOrStatic;
  if (ObjectPrototypeIsPrototypeOf(streams.ReadableStreamPrototype, source)) {
    return { data: null, rid: streams.resourceForReadableStream(source, inner.body.length ?? knownLength(source)) };
  }
  source.consumed = true;
  return { data: typeof source.body === "string" ? core.encode(source.body) : source.body, rid: 0 };
}

function toResponse({ status, headers, body }) {
  const headerList = [];
  for (let index = 0; index < headers.length; index += 2) {
    ArrayPrototypePush(headerList, [headers[index], headers[index + 1]]);
  }
  const inner = denoResponse.newInnerResponse(status);
  inner.headerList = headerList;
  if (!denoResponse.nullBodyStatus(status)) {
    inner.body = new InnerBody({ body, consumed: false });
    inner.body.length = body.byteLength;
    inner.body.source = body;
  }
  return denoResponse.fromInnerResponse(inner, "immutable");
}

class CacheStorage {
  #default;

  constructor(brand) {
    if (brand !== _construct) throw new TypeError("Illegal constructor");
    this.#default = new Cache(_construct, "");
  }

  get default() {
    return this.#default;
  }

  async open(name) {
    name = `${name}`;
    if (name === "") throw new TypeError("caches.open() needs a name: the cache without one is caches.default");
    return new Cache(_construct, name);
  }
}

for (const name of ["has", "delete", "keys", "match"]) {
  primordials.ObjectDefineProperty(CacheStorage.prototype, name, {
    __proto__: null,
    value() {
      throw new Error(`Failed to execute '${name}' on 'CacheStorage': the method is not implemented. Use caches.default or caches.open().`);
    },
    writable: true,
    enumerable: true,
    configurable: true,
  });
}

const caches = new CacheStorage(_construct);

export { Cache, caches, CacheStorage };
