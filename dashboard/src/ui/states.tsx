/** What is shown while something loads, when there is nothing, and when something failed: what happened, and what to do. */
import type { ComponentChildren, JSX } from "preact";

import type { ApiError } from "../api/client";
import { ago } from "../format";
import type { Loaded } from "../load";
import { Icon } from "./icons";

/** Grey lines in place of text that comes soon. */
export function Loading({ lines = 3 }: { lines?: number }): JSX.Element {
  return (
    <div class="loading" role="status">
      <span class="hidden">Loading…</span>
      {Array.from({ length: lines }, (_, index) => (
        <span class="skeleton" key={index} aria-hidden="true" />
      ))}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

function advice(error: ApiError): string {
  if (error.status === 0) return "It is tried again by itself as soon as it works.";
  if (error.status === 403) return "Sign in with a token that has this permission.";
  if (error.status === 429) return "Wait a moment, then try again.";
  if (error.status >= 500) return "Try again; if it stays so, the platform’s log says more.";
  return "";
}

export function Failed({ error, retry }: { error: ApiError; retry?: (() => void) | undefined }): JSX.Element {
  const more = advice(error);
  return (
    <div class="failed" role="alert">
      <Icon name="warning" />
      <div>
        <p>{error.message}</p>
        {more === "" ? null : <p class="quiet">{more}</p>}
        {retry === undefined ? null : (
          <button type="button" class="button small" onClick={retry}>
            Try again
          </button>
        )}
      </div>
    </div>
  );
}

/** The platform is older than this page. */
export function NotAvailable({ what }: { what: string }): JSX.Element {
  return (
    <Empty title={`${what} not available on this platform version`}>
      <p class="quiet">This version of the platform does not have that yet. A newer one does.</p>
    </Empty>
  );
}

interface ShowProps<T> {
  of: Loaded<T>;
  /** What it is, for a platform that does not have it. */
  what?: string;
  lines?: number;
  children: (data: T) => ComponentChildren;
}

/** What was loaded; above it, if it is not fresh any more, why. */
export function Show<T>({ of, what, lines, children }: ShowProps<T>): JSX.Element {
  if (of.data === undefined) {
    if (of.error === undefined) return <Loading lines={lines ?? 3} />;
    if (what !== undefined && of.error.isMissing) return <NotAvailable what={what} />;
    return <Failed error={of.error} retry={of.reload} />;
  }
  return (
    <>
      {of.error === undefined ? null : (
        <p class="stale" role="status">
          <Icon name="warning" /> As it was {ago(of.at)}. {of.error.message}{" "}
          <button type="button" class="link" onClick={of.reload}>
            Try again
          </button>
        </p>
      )}
      {children(of.data)}
    </>
  );
}
