/** Calls of the platform's API: one way to ask, one kind of error, which says what to do. */
import { signal } from "@preact/signals";

/** Counts sessions that turned out to be over: whoever shows pages asks to sign in again. */
export const expired = signal(0);

/** Why a call failed. */
export class ApiError extends Error {
  /** The HTTP status; 0 when the platform was not reached at all. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }

  /** The platform does not know the endpoint, or what it is about. */
  get isMissing(): boolean {
    return this.status === 404;
  }
}

interface Envelope {
  success: boolean;
  errors?: { code: number; message: string }[];
  result: unknown;
}

export interface CallOptions {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: unknown;
  signal?: AbortSignal;
}

/** Calls an endpoint and gives its result. */
export async function call<T>(path: string, options: CallOptions = {}): Promise<T> {
  const headers: Record<string, string> = { "X-Skep-Dashboard": "1" };
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  const response = await reach(path, {
    method: options.method ?? "GET",
    headers,
    body: options.body === undefined ? null : JSON.stringify(options.body),
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
    signal: options.signal ?? null,
  });
  const envelope = (await response.json().catch(() => null)) as Envelope | null;
  if (response.ok && envelope?.success === true) return envelope.result as T;
  if (response.status === 401 && path !== SESSION) expired.value += 1;
  throw new ApiError(response.status, envelope?.errors?.[0]?.message ?? described(response.status));
}

export const SESSION = "/skep/v1/session";

async function reach(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The platform cannot be reached. Is it running, and are you online?");
  }
}

function described(status: number): string {
  if (status === 404) return "This version of the platform does not have that.";
  if (status === 502 || status === 503 || status === 504) {
    return `The platform answers ${status}: it is starting, stopping or overloaded. It is asked again by itself.`;
  }
  if (status >= 500) return `The platform failed (${status}). Its log says why: see “journalctl -u skep”.`;
  return `The platform refuses this (${status}).`;
}

/** A part of a path. */
export function part(text: string): string {
  return encodeURIComponent(text);
}

/** A query of what is given. */
export function query(parameters: Record<string, string | number | undefined>): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== "") given.set(name, String(value));
  }
  const text = given.toString();
  return text === "" ? "" : `?${text}`;
}
