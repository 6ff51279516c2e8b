// What there is: the names on the global object, and those of each class and namespace.

const LANGUAGE = new Set(["Object", "Function", "Array", "Number", "Boolean", "String", "Symbol", "Date", "Promise", "RegExp", "Error", "AggregateError", "EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError", "ArrayBuffer", "Uint8Array", "Int8Array", "Uint16Array", "Int16Array", "Uint32Array", "Int32Array", "BigUint64Array", "BigInt64Array", "Uint8ClampedArray", "Float16Array", "Float32Array", "Float64Array", "DataView", "Map", "BigInt", "Set", "Iterator", "WeakMap", "WeakSet", "WeakRef", "Proxy", "FinalizationRegistry", "SharedArrayBuffer", "Atomics", "JSON", "Math", "Intl", "Reflect", "WebAssembly", "DisposableStack", "AsyncDisposableStack", "SuppressedError"]);

function names(object) {
  return Object.getOwnPropertyNames(object).filter((name) => !["constructor", "length", "name", "prototype", "arguments", "caller"].includes(name));
}

/** The names of an object, methods with "()", and those that it inherits. */
function allNames(object) {
  const found = new Set();
  for (let part = object; part && part !== Object.prototype && part !== Function.prototype; part = Object.getPrototypeOf(part)) {
    for (const name of names(part)) {
      found.add(typeof Object.getOwnPropertyDescriptor(part, name).value === "function" ? `${name}()` : name);
    }
  }
  return [...found];
}

function members(value) {
  if (typeof value !== "function") return allNames(value).sort();
  return [...allNames(value).map((name) => `static ${name}`), ...allNames(value.prototype)].sort();
}

/** Every name that can be used without `globalThis`. */
function globals() {
  const found = new Set(Object.getOwnPropertyNames(globalThis));
  for (let parent = Object.getPrototypeOf(globalThis); parent !== Object.prototype; parent = Object.getPrototypeOf(parent)) {
    for (const name of Object.getOwnPropertyNames(parent)) found.add(name);
  }
  found.delete("constructor");
  return [...found].sort();
}

export const cases = {
  globals,
  members: () => {
    const all = {};
    for (const name of globals()) {
      const value = globalThis[name];
      const isPlace = typeof value === "function" ? value.prototype !== undefined : typeof value === "object" && value !== null;
      if (isPlace && !LANGUAGE.has(name) && !name.endsWith("GlobalScope") && value !== globalThis) all[name] = members(value);
    }
    all["crypto.subtle"] = members(crypto.subtle);
    all["WebAssembly"] = members(WebAssembly);
    return all;
  },
};
