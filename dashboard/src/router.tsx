/** Which page is shown: paths below /dashboard/, with the browser's own history. */
import { signal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";

const ROOT = "/dashboard";

function current(): string {
  const path = location.pathname.slice(ROOT.length).replace(/\/+$/, "");
  return path === "" ? "/" : path;
}

/** The path below the dashboard, such as `/workers/hello`. */
export const path = signal(current());

/** How often somebody went to another page: the new one takes the focus. */
export const visits = signal(0);

addEventListener("popstate", () => {
  // A place on the same page is no other page.
  if (path.value === current()) return;
  path.value = current();
  visits.value += 1;
});

export function href(to: string): string {
  return to === "/" ? `${ROOT}/` : ROOT + to;
}

export function go(to: string): void {
  history.pushState(null, "", href(to));
  path.value = current();
  visits.value += 1;
  scrollTo(0, 0);
}

/** The parts of a path that fit a pattern such as `/workers/:name/:tab`, or nothing. */
export function match(pattern: string, actual: string): Record<string, string> | null {
  const wanted = pattern.split("/");
  const given = actual.split("/");
  if (wanted.length !== given.length) return null;
  const found: Record<string, string> = {};
  for (const [index, segment] of wanted.entries()) {
    const text = given[index] ?? "";
    if (segment.startsWith(":")) found[segment.slice(1)] = decoded(text);
    else if (segment !== text) return null;
  }
  return found;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

interface LinkProps {
  to: string;
  class?: string;
  current?: boolean;
  children: ComponentChildren;
}

/** A link to another page. Other tabs and windows work as with every link. */
export function Link({ to, current: isCurrent, children, ...rest }: LinkProps): JSX.Element {
  const open = (event: MouseEvent): void => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(to);
  };
  return (
    <a href={href(to)} onClick={open} aria-current={isCurrent === true ? "page" : undefined} {...rest}>
      {children}
    </a>
  );
}
