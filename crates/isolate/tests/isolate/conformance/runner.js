// Runs the cases of one file and answers with what each gives, as JSON. The same in workerd and in Skep.

import { cases } from "./cases.js";

/** A value as JSON shows it, with what JSON has no word for in angle brackets. */
function show(value) {
  if (value === undefined) return "<undefined>";
  if (typeof value === "bigint") return `<${value}n>`;
  if (typeof value === "function") return `<function ${value.name}>`;
  if (typeof value === "symbol") return `<${String(value)}>`;
  if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))) return `<${Object.is(value, -0) ? "-0" : value}>`;
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Error) return `<${value.name}>`;
  if (value instanceof ArrayBuffer) return { bytes: Array.from(new Uint8Array(value)) };
  if (ArrayBuffer.isView(value)) return { [value.constructor.name]: Array.from(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)) };
  if (Array.isArray(value)) return value.map(show);
  if (value instanceof Date) return `<${value.toISOString()}>`;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, show(inner)]));
}

async function run(name, args) {
  try {
    return show(await Promise.race([cases[name](...args), scheduler.wait(5_000).then(() => "<never settles>")]));
  } catch (error) {
    return `<throws ${error?.name ?? error}>`;
  }
}

export default {
  async fetch(...args) {
    const answers = {};
    for (const name of Object.keys(cases)) answers[name] = await run(name, args);
    return Response.json(answers);
  },
};
