/** Who is signed in. */
import { computed, effect, signal } from "@preact/signals";

import { ApiError, SESSION, call, expired } from "./api/client";
import type { Permission, Session } from "./api/types";

export type Signed =
  | { state: "asking" }
  | { state: "in"; session: Session }
  | { state: "out"; reason: "none" | "expired" | "left" }
  | { state: "unknown"; error: ApiError };

/** The session is asked for this often, so that it lasts as long as the page is used. */
const RENEW = 30 * 60 * 1000;

export const signed = signal<Signed>({ state: "asking" });

/** The account that is shown. */
export const account = computed(() => (signed.value.state === "in" ? signed.value.session.account.id : ""));

export function may(permission: Permission): boolean {
  return signed.value.state === "in" && signed.value.session.token.permissions.includes(permission);
}

export async function look(): Promise<void> {
  try {
    signed.value = { state: "in", session: await call<Session>(SESSION) };
  } catch (error) {
    const failure = error instanceof ApiError ? error : new ApiError(0, String(error));
    if (failure.status === 401 || failure.status === 404) {
      const was = signed.value.state === "in";
      signed.value = { state: "out", reason: was ? "expired" : "none" };
    } else if (signed.value.state !== "in") {
      signed.value = { state: "unknown", error: failure };
    }
  }
}

export async function signIn(token: string): Promise<void> {
  signed.value = { state: "in", session: await call<Session>(SESSION, { method: "POST", body: { token } }) };
}

export async function signOut(): Promise<void> {
  try {
    await call(SESSION, { method: "DELETE" });
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error;
  }
  signed.value = { state: "out", reason: "left" };
}

export function keepSignedIn(): void {
  void look();
  setInterval(() => {
    if (signed.value.state === "in" && !document.hidden) void look();
  }, RENEW);
  effect(() => {
    if (expired.value > 0 && signed.peek().state === "in") signed.value = { state: "out", reason: "expired" };
  });
}
