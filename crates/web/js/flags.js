// The compatibility flags of the version that runs here, by the names that turn them on.

let flags = { __proto__: null };

/** Takes the flags of a version. */
function setFlags(all) {
  flags = { __proto__: null, ...all };
}

/** Whether a flag's behaviour is on. */
function isOn(flag) {
  return flags[flag] === true;
}

export { isOn, setFlags };
