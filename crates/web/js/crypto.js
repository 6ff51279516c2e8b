// Crypto that only Workers have: DigestStream, timingSafeEqual() and MD5 digests.
// https://developers.cloudflare.com/workers/runtime-apis/web-crypto/

import { core, primordials } from "ext:core/mod.js";
import { requireEvent } from "ext:skep_web/context.js";
import { bytesOf } from "ext:skep_web/streams.js";

const {
  ObjectCreate,
  ObjectDefineProperty,
  Promise,
  PromisePrototypeCatch,
  SafeWeakMap,
  StringPrototypeToUpperCase,
  TypedArrayPrototypeGetByteLength,
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
  const name = DIGESTS[digestName(algorithm)];
  if (name === undefined) return await primordials.ReflectApply(standardDigest, this, [algorithm, data]);
  const rid = ops.op_digest_start(name);
  ops.op_digest_update(rid, bytesOf(data, "digest()"));
  return ops.op_digest_finish(rid).buffer;
});

// What takes longer with each step is limited, as an operation that runs cannot be stopped.

const MOST_ITERATIONS = 100_000;
const LONGEST_MODULUS = 4_096;

/** An algorithm whose costly parameters are within their limits, and stay what they were when they were checked. */
function affordable(algorithm) {
  if (typeof algorithm !== "object" || algorithm === null) return algorithm;
  const { iterations, modulusLength } = algorithm;
  if (iterations > MOST_ITERATIONS) {
    throw new DOMException(
      `Pbkdf2 failed: iteration counts above ${MOST_ITERATIONS} are not supported (requested ${iterations}).`,
      "NotSupportedError",
    );
  }
  if (modulusLength > LONGEST_MODULUS) {
    throw new DOMException(
      `RSA keys have ${LONGEST_MODULUS} bits at most: a modulusLength of ${modulusLength} is not supported.`,
      "NotSupportedError",
    );
  }
  const checked = ObjectCreate(algorithm);
  if (iterations !== undefined) define(checked, "iterations", iterations);
  if (modulusLength !== undefined) define(checked, "modulusLength", modulusLength);
  return checked;
}

for (const name of ["deriveBits", "deriveKey", "generateKey"]) {
  const standard = SubtleCrypto.prototype[name];
  define(SubtleCrypto.prototype, name, {
    async [name](...args) {
      args[0] = affordable(args[0]);
      return await primordials.ReflectApply(standard, this, args);
    },
  }[name]);
}

for (const name of ["getRandomValues", "randomUUID"]) {
  const standard = Crypto.prototype[name];
  define(Crypto.prototype, name, {
    [name](...args) {
      requireEvent(`crypto.${name}()`);
      return primordials.ReflectApply(standard, this, args);
    },
  }[name]);
}

// For node:crypto; they would open keys that are not extractable.
for (const name of ["exportNodeMaterial", "importSync"]) primordials.ReflectDeleteProperty(denoCrypto.CryptoKey, name);

function define(object, name, value) {
  ObjectDefineProperty(object, name, { __proto__: null, value, writable: true, enumerable: true, configurable: true });
}

export { Crypto, denoCrypto, DigestStream, SubtleCrypto };
