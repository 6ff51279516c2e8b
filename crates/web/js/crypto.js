// Crypto that only Workers have: DigestStream, timingSafeEqual() and MD5 digests.
// https://developers.cloudflare.com/workers/runtime-apis/web-crypto/

import { core, primordials } from "ext:core/mod.js";
import { requireEvent } from "ext:skep_web/context.js";
import { bytesOf } from "ext:skep_web/streams.js";

const {
  ObjectDefineProperty,
  Promise,
  PromisePrototypeCatch,
  SafeWeakMap,
  StringPrototypeToUpperCase,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeSlice,
  TypeError,
  WeakMapPrototypeGet,
  WeakMapPrototypeSet,
} = primordials;
const ops = core.ops;

const denoCrypto = core.loadExtScript("ext:deno_crypto/00_crypto.js");
const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");
const { WritableStream } = core.loadExtScript("ext:deno_web/06_streams.js");
const { Crypto, SubtleCrypto } = denoCrypto;

const DIGESTS = { __proto__: null, MD5: "MD5", "SHA-1": "SHA-1", "SHA-256": "SHA-256", "SHA-384": "SHA-384", "SHA-512": "SHA-512" };

function digestName(algorithm) {
  const name = typeof algorithm === "object" && algorithm !== null ? algorithm.name : algorithm;
  return StringPrototypeToUpperCase(`${name}`);
}

const digestState = new SafeWeakMap();

/** A WritableStream that hashes what is written to it; `digest` is the promise of the hash. */
class DigestStream extends WritableStream {
  constructor(algorithm) {
    const name = DIGESTS[digestName(algorithm)];
    if (name === undefined) {
      throw new DOMException(
        `DigestStream does not know the algorithm "${digestName(algorithm)}": use SHA-1, SHA-256, SHA-384, SHA-512 or MD5`,
        "NotSupportedError",
      );
    }
    const rid = ops.op_digest_start(name);
    const state = { bytesWritten: 0, promise: undefined, reject: undefined };
    let resolve;
    state.promise = new Promise((resolvePromise, rejectPromise) => {
      resolve = resolvePromise;
      state.reject = rejectPromise;
    });
    // Whoever does not ask for the digest does not care that there is none.
    PromisePrototypeCatch(state.promise, () => {});
    super({
      write(chunk) {
        const bytes = typeof chunk === "string" ? core.encode(chunk) : bytesOf(chunk, "A DigestStream");
        ops.op_digest_update(rid, bytes);
        state.bytesWritten += TypedArrayPrototypeGetByteLength(bytes);
      },
      close() {
        resolve(ops.op_digest_finish(rid).buffer);
      },
      abort(reason) {
        core.tryClose(rid);
        state.reject(reason);
      },
    });
    WeakMapPrototypeSet(digestState, this, state);
  }

  get digest() {
    return WeakMapPrototypeGet(digestState, this).promise;
  }

  get bytesWritten() {
    return BigInt(WeakMapPrototypeGet(digestState, this).bytesWritten);
  }
}

const { BigInt } = primordials;

define(Crypto.prototype, "DigestStream", DigestStream);

define(SubtleCrypto.prototype, "timingSafeEqual", function timingSafeEqual(left, right) {
  left = bytesOf(left, "timingSafeEqual()");
  right = bytesOf(right, "timingSafeEqual()");
  if (TypedArrayPrototypeGetByteLength(left) !== TypedArrayPrototypeGetByteLength(right)) {
    throw new TypeError("timingSafeEqual() needs two buffers of the same length: compare their hashes if the lengths may differ");
  }
  return ops.op_timing_safe_equal(left, right);
});

const standardDigest = SubtleCrypto.prototype.digest;

define(SubtleCrypto.prototype, "digest", async function digest(algorithm, data) {
  if (digestName(algorithm) !== "MD5") return await primordials.ReflectApply(standardDigest, this, [algorithm, data]);
  const bytes = TypedArrayPrototypeSlice(bytesOf(data, "digest()"));
  const rid = ops.op_digest_start("MD5");
  ops.op_digest_update(rid, bytes);
  return ops.op_digest_finish(rid).buffer;
});

for (const name of ["getRandomValues", "randomUUID"]) {
  const standard = Crypto.prototype[name];
  define(Crypto.prototype, name, {
    [name](...args) {
      requireEvent(`crypto.${name}()`);
      return primordials.ReflectApply(standard, this, args);
    },
  }[name]);
}

function define(object, name, value) {
  ObjectDefineProperty(object, name, { __proto__: null, value, writable: true, enumerable: true, configurable: true });
}

export { Crypto, denoCrypto, DigestStream, SubtleCrypto };
