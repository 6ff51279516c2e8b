/** Ids that tie labels to what they are about. */
import { useState } from "preact/hooks";

let made = 0;

/** An id that no other element has. (That of `preact/hooks` begins again when the root is drawn again.) */
export function useUnique(): string {
  return useState(() => {
    made += 1;
    return `u${made}`;
  })[0];
}
