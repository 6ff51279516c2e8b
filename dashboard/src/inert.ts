/**
 * Text of Workers and their visitors, made harmless to look at. The page never makes HTML of it; here terminal escapes go away, and
 * characters that hide, move or reverse other text are shown as what they are.
 */

/** Control sequences and strings of terminals: ECMA-48, sections 5.3 to 5.6. */
const ESCAPES =
  /\u001b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~])|\u009b[0-?]*[ -/]*[@-~]/g;
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
/** Marks of direction, and characters that nobody sees. */
const INVISIBLE = /[\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
/** More of one text is not shown at once. */
const MOST = 20_000;

export function inert(text: string): string {
  const cut = text.length > MOST ? `${text.slice(0, MOST)}… (${text.length - MOST} more characters)` : text;
  return cut
    .replace(ESCAPES, "")
    .replace(/\r\n/g, "\n")
    .replace(CONTROLS, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .replace(INVISIBLE, (hidden) => `\\u${hidden.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The arguments of `console.log()` as one text. */
export function logged(message: unknown[]): string {
  return inert(message.map((value) => (typeof value === "string" ? value : shown(value))).join(" "));
}

function shown(value: unknown): string {
  try {
    return JSON.stringify(value, null, 1)?.replace(/\n\s*/g, " ") ?? String(value);
  } catch {
    return String(value);
  }
}
