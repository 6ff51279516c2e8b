// Streams that only Workers have: IdentityTransformStream and FixedLengthStream, and readAtLeast() of BYOB readers.
// https://developers.cloudflare.com/workers/runtime-apis/streams/transformstream/

import { core, primordials } from "ext:core/mod.js";
import { defineInspect } from "ext:skep_web/console.js";

const {
  ArrayBufferIsView,
  BigInt,
  DataViewPrototypeGetBuffer,
  DataViewPrototypeGetByteLength,
  DataViewPrototypeGetByteOffset,
  Number,
  ObjectDefineProperty,
  Promise,
  SafeWeakMap,
  TypedArrayPrototypeGetBuffer,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeGetByteOffset,
  TypedArrayPrototypeGetSymbolToStringTag,
  TypedArrayPrototypeSlice,
  TypeError,
  Uint8Array,
  WeakMapPrototypeGet,
  WeakMapPrototypeSet,
} = primordials;

const streams = core.loadExtScript("ext:deno_web/06_streams.js");
const { ReadableStream, TransformStream, WritableStream } = streams;

/** Streams whose length is known before they are read: a response made of one has a Content-Length. */
const knownLengths = new SafeWeakMap();

/** The number of bytes a stream will give, or undefined. */
function knownLength(stream) {
  return WeakMapPrototypeGet(knownLengths, stream);
}

function setKnownLength(stream, length) {
  WeakMapPrototypeSet(knownLengths, stream, length);
}

/** The bytes of a chunk as a Uint8Array over the same memory. */
function bytesOf(chunk, what) {
  if (ArrayBufferIsView(chunk)) {
    const tag = TypedArrayPrototypeGetSymbolToStringTag(chunk);
    if (tag === "Uint8Array") return chunk;
    if (tag !== undefined) {
      return new Uint8Array(
        TypedArrayPrototypeGetBuffer(chunk),
        TypedArrayPrototypeGetByteOffset(chunk),
        TypedArrayPrototypeGetByteLength(chunk),
      );
    }
    return new Uint8Array(
      DataViewPrototypeGetBuffer(chunk),
      DataViewPrototypeGetByteOffset(chunk),
      DataViewPrototypeGetByteLength(chunk),
    );
  }
  if (core.isAnyArrayBuffer(chunk)) return new Uint8Array(chunk);
  throw new TypeError(
    `${what} takes bytes: write an ArrayBuffer or a view of one, not ${chunk === null ? "null" : `a value of type ${typeof chunk}`}. For text, pipe it through a TextEncoderStream first.`,
  );
}

const readableOf = new SafeWeakMap();
const writableOf = new SafeWeakMap();
/** Writable streams that take bytes only. */
const expectsBytes = new SafeWeakMap();

/**
 * A pair of byte streams: what is written to one is read from the other, unchanged. A write is done when its bytes were
 * read, so nothing piles up between the two. `expected` is the number of bytes that must pass, if it is known.
 */
function makePair(expected) {
  let readController;
  let writeController;
  let wanted = null;
  let over = false;
  let passed = 0;

  const waitForReader = () =>
    new Promise((resolve) => {
      wanted = resolve;
    });
  let reading = waitForReader();

  const readable = new ReadableStream({
    type: "bytes",
    start(controller) {
      readController = controller;
    },
    pull() {
      wanted();
    },
    cancel(reason) {
      over = true;
      writeController.error(reason ?? new TypeError("The readable side was cancelled"));
      wanted();
    },
  }, { highWaterMark: 0 });

  const fail = (error) => {
    if (!over) {
      over = true;
      readController.error(error);
    }
    throw error;
  };

  const writable = new WritableStream({
    start(controller) {
      writeController = controller;
    },
    async write(chunk) {
      const bytes = typeof chunk === "string" ? core.encode(chunk) : bytesOf(chunk, expected === undefined ? "An IdentityTransformStream" : "A FixedLengthStream");
      const length = TypedArrayPrototypeGetByteLength(bytes);
      if (length === 0) return;
      if (expected !== undefined && passed + length > expected) {
        fail(new TypeError(`Attempt to write too many bytes through a FixedLengthStream: ${passed + length} of ${expected}.`));
      }
      await reading;
      if (over) return;
      reading = waitForReader();
      passed += length;
      readController.enqueue(TypedArrayPrototypeSlice(bytes));
    },
    close() {
      if (over) return;
      if (expected !== undefined && passed < expected) {
        fail(new TypeError(`FixedLengthStream did not see all expected bytes before close(): ${passed} of ${expected}.`));
      }
      over = true;
      readController.close();
      readController.byobRequest?.respond(0);
    },
    abort(reason) {
      if (over) return;
      over = true;
      readController.error(reason);
    },
  }, { highWaterMark: 1 });

  return { readable, writable };
}

/** Passes bytes through unchanged. Its readable side takes BYOB readers. */
class IdentityTransformStream extends TransformStream {
  constructor(expected = undefined) {
    super();
    const isFixed = new.target === FixedLengthStream || typeof expected === "number";
    const { readable, writable } = makePair(isFixed ? expected : undefined);
    WeakMapPrototypeSet(readableOf, this, readable);
    WeakMapPrototypeSet(writableOf, this, writable);
    WeakMapPrototypeSet(expectsBytes, writable, true);
  }

  get readable() {
    return WeakMapPrototypeGet(readableOf, this);
  }

  get writable() {
    return WeakMapPrototypeGet(writableOf, this);
  }
}

/** An IdentityTransformStream that lets exactly so many bytes pass; a response made of it has a Content-Length. */
class FixedLengthStream extends IdentityTransformStream {
  constructor(expectedLength) {
    const length = typeof expectedLength === "bigint" ? Number(expectedLength) : +expectedLength;
    if (!(length >= 0 && length <= 9007199254740991) || length % 1 !== 0) {
      throw new TypeError(`FixedLengthStream needs a whole number of bytes, not ${expectedLength}`);
    }
    super(length);
    setKnownLength(this.readable, length);
  }
}

ObjectDefineProperty(streams.ReadableStreamBYOBReader.prototype, "readAtLeast", {
  __proto__: null,
  /** Fills a view with at least `minimum` elements, fewer only at the end of the stream. */
  value: function readAtLeast(minimum, view) {
    return this.read(view, { min: minimum });
  },
  writable: true,
  enumerable: true,
  configurable: true,
});

/** The host's resource behind a stream: its own, if it has one that nobody has read from, else one that is fed from JavaScript. */
function resourceOf(stream) {
  const backing = streams.getReadableStreamResourceBacking(stream);
  if (!backing?.autoClose) return streams.resourceForReadableStream(stream);
  // Locks the stream; its resource now belongs to whoever asked.
  streams.acquireReadableStreamDefaultReader(stream);
  streams.readableStreamDisturb(stream);
  return backing.rid;
}

const stateNames = { __proto__: null, readable: "readable", writable: "writable", closed: "closed", errored: "errored", erroring: "erroring" };

/** The length of a stream, also of one that the host feeds, if it is known. */
function lengthOf(stream) {
  const length = knownLength(stream);
  if (length !== undefined) return length;
  const backing = streams.getReadableStreamResourceBacking(stream);
  const hosted = backing ? core.ops.op_body_length(backing.rid) : -1;
  return hosted < 0 ? undefined : hosted;
}

defineInspect(ReadableStream.prototype, (stream) => {
  const length = lengthOf(stream);
  return {
    prefix: "ReadableStream",
    properties: {
      locked: stream.locked,
      "[state]": stateNames[stream[streams._state]] ?? "readable",
      "[supportsBYOB]": streams.isReadableStream(stream) && isByteStream(stream),
      "[length]": length === undefined ? undefined : BigInt(length),
    },
  };
});

function isByteStream(stream) {
  return (streams.getReadableStreamResourceBacking(stream) ?? null) !== null ||
    streams.isReadableByteStreamController(stream[controllerSymbol(stream)]);
}

let foundControllerSymbol;

/** The internal name under which a stream keeps its controller: found once, on the first stream that is shown. */
function controllerSymbol(stream) {
  if (foundControllerSymbol === undefined) {
    for (const symbol of primordials.ObjectGetOwnPropertySymbols(stream)) {
      if (symbol.description === "[[controller]]") foundControllerSymbol = symbol;
    }
  }
  return foundControllerSymbol;
}

defineInspect(WritableStream.prototype, (stream) => ({
  prefix: "WritableStream",
  properties: {
    locked: stream.locked,
    "[state]": stateNames[stream[streams._state]] ?? "writable",
    "[expectsBytes]": WeakMapPrototypeGet(expectsBytes, stream) === true,
  },
}));

defineInspect(TransformStream.prototype, (stream) => ({
  prefix: stream.constructor?.name ?? "TransformStream",
  properties: { readable: stream.readable, writable: stream.writable },
}));

export { bytesOf, FixedLengthStream, IdentityTransformStream, knownLength, resourceOf, setKnownLength };
