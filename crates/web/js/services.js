// Bindings that reach outside of the isolate: other Workers, the Worker's own entrypoints, static assets, rate limits.
// https://developers.cloudflare.com/workers/runtime-apis/bindings/

import { core, primordials } from "ext:core/mod.js";
import { currentId, requireEvent } from "ext:skep_web/context.js";
import { setMakeLoopback } from "ext:skep_web/events.js";
import { fetchThrough } from "ext:skep_web/fetch.js";

const {
  JSONStringify,
  ObjectCreate,
  ObjectDefineProperty,
  Proxy,
  ReflectGet,
  ReflectHas,
  SafeWeakMap,
  SymbolToStringTag,
  TypeError,
  WeakMapPrototypeGet,
  WeakMapPrototypeSet,
} = primordials;
const ops = core.ops;

/** What a Fetcher stands for: `{ worker, entrypoint, props }`. Static assets have no worker. */
const targets = new SafeWeakMap();

function targetOf(fetcher) {
  const target = WeakMapPrototypeGet(targets, fetcher);
  if (target === undefined) throw new TypeError("Illegal invocation: call it as a method of the binding");
  return target;
}

/** A binding that takes requests. */
class Fetcher {
  constructor() {
    throw new TypeError("Illegal constructor");
  }

  fetch(input, init = undefined) {
    const { worker, entrypoint, props } = targetOf(this);
    const start = (request, method, url, headers, data, rid) => {
      const { cf } = request;
      const cfJson = cf === undefined || cf === null ? "" : JSONStringify(cf) ?? "";
      return ops.op_service_fetch(currentId(), worker, entrypoint, props, cfJson, method, url, headers, data, rid);
    };
    return fetchThrough(start, input, init);
  }

  connect() {
    throw new TypeError("connect() is not supported yet: use fetch()");
  }
}

ObjectDefineProperty(Fetcher.prototype, SymbolToStringTag, { __proto__: null, value: "Fetcher", configurable: true });

/** Gives what a property of a service binding is: a method of the other Worker. Set by the RPC modules. */
let methodOf = () => undefined;

function setMethodOf(make) {
  methodOf = make;
}

/** Properties that are the binding's own; every other one is the other Worker's. `then` would make a promise of it. */
function isOwn(target, property) {
  return typeof property === "symbol" || property === "then" || ReflectHas(Fetcher.prototype, property);
}

const handler = {
  __proto__: null,
  get(object, property, receiver) {
    if (isOwn(object, property)) return ReflectGet(Fetcher.prototype, property, receiver);
    return methodOf(WeakMapPrototypeGet(targets, object), property);
  },
  has: () => true,
};

/** The binding of an entrypoint of a Worker. `props` is JSON, empty if there are none. */
function makeFetcher(worker, entrypoint, props) {
  const object = ObjectCreate(Fetcher.prototype);
  const fetcher = new Proxy(object, handler);
  const target = { worker, entrypoint, props };
  WeakMapPrototypeSet(targets, object, target);
  WeakMapPrototypeSet(targets, fetcher, target);
  return fetcher;
}

/** The binding of the static assets. */
function makeAssets() {
  const assets = ObjectCreate(Fetcher.prototype);
  WeakMapPrototypeSet(targets, assets, { worker: "", entrypoint: "", props: "" });
  return assets;
}

let ownWorker = "";

/** Takes the name of the Worker that runs here. */
function setOwnWorker(name) {
  ownWorker = name;
}

/** One of the Worker's own entrypoints: a binding, and a function that gives one with properties of its own. */
setMakeLoopback((entrypoint) => {
  const callable = () => {};
  primordials.ObjectSetPrototypeOf(callable, Fetcher.prototype);
  primordials.ReflectDeleteProperty(callable, "name");
  primordials.ReflectDeleteProperty(callable, "length");
  const fetcher = new Proxy(callable, {
    __proto__: handler,
    apply(_callable, _this, args) {
      const props = args[0]?.props;
      const json = props === undefined ? "" : JSONStringify(props);
      if (json === undefined) throw new TypeError("`props` must be a value that JSON can hold");
      return makeFetcher(ownWorker, entrypoint, json);
    },
  });
  const target = { worker: ownWorker, entrypoint, props: "" };
  WeakMapPrototypeSet(targets, callable, target);
  WeakMapPrototypeSet(targets, fetcher, target);
  return fetcher;
});

/** A binding that counts how often something happens. */
class RateLimit {
  #rate;

  constructor(brand, rate) {
    if (brand !== _construct) throw new TypeError("Illegal constructor");
    this.#rate = rate;
  }

  /** Counts one use of `key`. Gives whether it is within the limit: `{ success }`. */
  async limit(options) {
    requireEvent("limit()");
    if (typeof options !== "object" || options === null) throw new TypeError('limit() needs an object: limit({ key: "..." })');
    const key = options.key ?? "";
    if (typeof key !== "string") throw new TypeError("`key` must be a string");
    const { namespace, limit, period } = this.#rate;
    return { success: await ops.op_rate_limit(currentId(), namespace, limit, period, key) };
  }
}

const _construct = primordials.Symbol("construct");

function makeRateLimit(rate) {
  return new RateLimit(_construct, rate);
}

export { Fetcher, makeAssets, makeFetcher, makeRateLimit, setMethodOf, setOwnWorker, targets };
