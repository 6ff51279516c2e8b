// The console: every method of the standard, formatted as `wrangler dev` shows it (Node's rules of inspection).
// https://console.spec.whatwg.org/
//
// A line goes to the host as one op call, with the number of the event that printed it. Colours are the terminal's
// business: the host says at start whether it wants them.

import { core, primordials } from "ext:core/mod.js";
import { currentId, setInspect } from "ext:skep_web/context.js";

const {
  ArrayIsArray,
  ArrayPrototypeJoin,
  ArrayPrototypePush,
  ArrayPrototypeUnshift,
  ErrorCaptureStackTrace,
  JSONStringify,
  MapPrototypeDelete,
  MapPrototypeGet,
  MapPrototypeSet,
  NumberIsFinite,
  ObjectCreate,
  ObjectDefineProperty,
  ObjectGetPrototypeOf,
  ObjectPrototype,
  SafeArrayIterator,
  SafeMap,
  SafeRegExp,
  String,
  StringPrototypeIncludes,
  StringPrototypePadStart,
  StringPrototypeRepeat,
  StringPrototypeReplaceAll,
  SymbolFor,
  SymbolToStringTag,
} = primordials;
const ops = core.ops;

const denoConsole = core.loadExtScript("ext:deno_web/01_console.js");
const privateInspect = SymbolFor("Deno.privateCustomInspect");

const inspectOptions = { __proto__: null, depth: 2, quotes: ["'", '"', "`"], colors: false, maxArrayLength: 100, maxStringLength: 10_000 };

/** Turns colours on: for a terminal. */
function setColors(colors) {
  inspectOptions.colors = colors;
  denoConsole.setNoColorFns(() => !colors, () => !colors);
}

/** A value as text, as `util.inspect` shows it. */
function inspect(value, options = undefined) {
  return denoConsole.inspect(value, { __proto__: null, ...inspectOptions, ...options });
}
setInspect(inspect, withoutPlatformFrames);

/** The arguments of a console call as text, `%s`-style formats included. */
function format(args) {
  return denoConsole.inspectArgs(args, inspectOptions);
}

let indentation = "";

/** Frames of the platform's own code: of no use to who reads a stack. */
const PLATFORM_FRAMES = new SafeRegExp(/\n +at (?:[^\n]*\()?ext:[^\n]*/g);

function withoutPlatformFrames(text) {
  return StringPrototypeIncludes(text, "ext:") ? StringPrototypeReplaceAll(text, PLATFORM_FRAMES, "") : text;
}

function print(level, text, args = undefined) {
  text = withoutPlatformFrames(text);
  const event = currentId();
  const wanted = ops.op_console_arguments_wanted(event) ? argumentsAsJson(args ?? [text]) : "";
  if (indentation !== "") {
    text = indentation + StringPrototypeReplaceAll(text, "\n", `\n${indentation}`);
  }
  ops.op_console(event, level, text, wanted);
}

/** The arguments of a call for who watches: a JSON list, in which text stands for what JSON has no word for. */
function argumentsAsJson(args) {
  const formatted = args.length > 1 && typeof args[0] === "string" && StringPrototypeIncludes(args[0], "%");
  const values = formatted ? [format(args)] : args;
  let json = "";
  for (let index = 0; index < values.length; index += 1) {
    json += (index === 0 ? "" : ",") + valueAsJson(values[index]);
  }
  return `[${json}]`;
}

function valueAsJson(value) {
  try {
    const prototype = value !== null && typeof value === "object" ? ObjectGetPrototypeOf(value) : undefined;
    const plain = value === null || typeof value === "string" || typeof value === "boolean" || NumberIsFinite(value) ||
      prototype === null || prototype === ObjectPrototype || ArrayIsArray(value);
    const json = plain ? JSONStringify(value) : undefined;
    if (json !== undefined) return json;
  } catch {
    // A cycle, or a toJSON() that throws.
  }
  return JSONStringify(withoutPlatformFrames(inspect(value)));
}

const LEVEL = { __proto__: null, debug: 0, info: 1, log: 2, warn: 3, error: 4 };

// Tables are drawn by the platform's own console; it hands us the text.
let table = "";
const tableConsole = new denoConsole.Console((text) => {
  table += text;
});

const counts = new SafeMap();
const timers = new SafeMap();

function elapsed(label, method) {
  const start = MapPrototypeGet(timers, label);
  if (start === undefined) {
    print(LEVEL.warn, `No such label '${label}' for console.${method}()`);
    return undefined;
  }
  const milliseconds = ops.op_skep_now() - start;
  if (milliseconds < 1_000) return `${label}: ${milliseconds.toFixed(3)}ms`;
  const seconds = milliseconds / 1_000;
  if (seconds < 60) return `${label}: ${seconds.toFixed(3)}s`;
  const minutes = seconds / 60 | 0;
  return `${label}: ${minutes}:${StringPrototypePadStart((seconds % 60).toFixed(3), 6, "0")} (m:ss.mmm)`;
}

const methods = {
  log(...args) {
    print(LEVEL.log, format(args), args);
  },
  debug(...args) {
    print(LEVEL.debug, format(args), args);
  },
  info(...args) {
    print(LEVEL.info, format(args), args);
  },
  warn(...args) {
    print(LEVEL.warn, format(args), args);
  },
  error(...args) {
    print(LEVEL.error, format(args), args);
  },
  dir(value = undefined, options = undefined) {
    print(LEVEL.log, inspect(value, { customInspect: false, ...options }));
  },
  dirxml(...args) {
    print(LEVEL.log, format(args));
  },
  table(data = undefined, columns = undefined) {
    if (data === null || typeof data !== "object") return print(LEVEL.log, format([data]));
    table = "";
    tableConsole.table(data, columns);
    const text = table;
    table = "";
    print(LEVEL.log, text.endsWith("\n") ? text.slice(0, -1) : text);
  },
  trace(...args) {
    const trace = { name: "Trace", message: format(args) };
    ErrorCaptureStackTrace(trace, methods.trace);
    print(LEVEL.log, trace.stack);
  },
  group(...args) {
    if (args.length > 0) print(LEVEL.log, format(args));
    indentation += "  ";
  },
  groupCollapsed(...args) {
    methods.group(...new SafeArrayIterator(args));
  },
  groupEnd() {
    indentation = StringPrototypeRepeat(" ", indentation.length > 2 ? indentation.length - 2 : 0);
  },
  clear() {
    indentation = "";
  },
  count(label = "default") {
    label = String(label);
    const count = (MapPrototypeGet(counts, label) ?? 0) + 1;
    MapPrototypeSet(counts, label, count);
    print(LEVEL.log, `${label}: ${count}`);
  },
  countReset(label = "default") {
    label = String(label);
    if (!MapPrototypeDelete(counts, label)) print(LEVEL.warn, `Count for '${label}' does not exist`);
  },
  assert(condition = false, ...args) {
    if (condition) return;
    if (typeof args[0] === "string") args[0] = `Assertion failed: ${args[0]}`;
    else ArrayPrototypeUnshift(args, "Assertion failed");
    print(LEVEL.error, format(args), args);
  },
  time(label = "default") {
    label = String(label);
    if (MapPrototypeGet(timers, label) !== undefined) {
      print(LEVEL.warn, `Label '${label}' already exists for console.time()`);
      return;
    }
    MapPrototypeSet(timers, label, ops.op_skep_now());
  },
  timeLog(label = "default", ...args) {
    const text = elapsed(String(label), "timeLog");
    if (text !== undefined) print(LEVEL.log, args.length > 0 ? `${text} ${format(args)}` : text);
  },
  timeEnd(label = "default") {
    label = String(label);
    const text = elapsed(label, "timeEnd");
    MapPrototypeDelete(timers, label);
    if (text !== undefined) print(LEVEL.log, text);
  },
  // Only a debugger has a use for these; it wraps them.
  timeStamp() {},
  profile() {},
  profileEnd() {},
  context() {
    return console;
  },
};

const console = ObjectCreate({});
for (const name in methods) {
  ObjectDefineProperty(console, name, { __proto__: null, value: methods[name], writable: true, enumerable: true, configurable: true });
}
ObjectDefineProperty(console, SymbolToStringTag, { __proto__: null, value: "console", configurable: true });

/**
 * Defines how objects of a class are shown. `describe(object)` gives `{ prefix, entries, properties }`: the text before
 * the brace, `key => value` pairs, and named properties; a key of `properties` in brackets is shown as it is.
 */
function defineInspect(prototype, describe) {
  ObjectDefineProperty(prototype, privateInspect, {
    __proto__: null,
    value: function inspectObject(inner, options) {
      const text = layOut(describe(this), inner, options ?? {});
      const indentation = options?.indentationLvl ?? 0;
      return indentation === 0 ? text : StringPrototypeReplaceAll(text, "\n", `\n${StringPrototypeRepeat(" ", indentation)}`);
    },
    writable: true,
    configurable: true,
  });
}

const LINE_WIDTH = 72;
const MOST_ENTRIES_ON_A_LINE = 6;

/** Node's rule of layout: on one line if it is short and holds no line break, else one entry a line. */
function layOut({ prefix, entries = [], properties = {} }, inner, options) {
  if (typeof options.depth === "number" && options.depth < 0) return `[${prefix}]`;
  const deeper = { ...options, indentationLvl: 0, depth: typeof options.depth === "number" ? options.depth - 1 : options.depth };
  const shown = [];
  for (const { 0: key, 1: value } of new SafeArrayIterator(entries)) {
    ArrayPrototypePush(shown, `${inner(key, deeper)} => ${inner(value, deeper)}`);
  }
  for (const name in properties) {
    ArrayPrototypePush(shown, `${name}: ${inner(properties[name], deeper)}`);
  }
  if (shown.length === 0) return `${prefix} {}`;
  const line = ArrayPrototypeJoin(shown, ", ");
  if (shown.length <= MOST_ENTRIES_ON_A_LINE && line.length + prefix.length <= LINE_WIDTH && !StringPrototypeIncludes(line, "\n")) {
    return `${prefix} { ${line} }`;
  }
  const lines = ArrayPrototypeJoin(shown, ",\n");
  return `${prefix} {\n  ${StringPrototypeReplaceAll(lines, "\n", "\n  ")}\n}`;
}

export { console, defineInspect, inspect, setColors, withoutPlatformFrames };
