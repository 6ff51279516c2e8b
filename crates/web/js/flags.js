// The compatibility flags of the version that runs here, by the names that turn them on.

import { primordials } from "ext:core/mod.js";

const { SafeSet } = primordials;

let flags = new SafeSet();

/** Takes the flags that are on for a version and could be off. */
function setFlags(on) {
  flags = new SafeSet(on);
}

/** Whether a flag's behaviour is on. */
function isOn(flag) {
  return flags.has(flag);
}

export { isOn, setFlags };
