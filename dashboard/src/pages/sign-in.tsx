/** Signing in with an API token. The path stays, so that one comes back to where one was. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { useAction } from "../load";
import { signIn } from "../session";
import { ThemeButton } from "../shell";
import { Logo } from "../ui/icons";
import { Failed } from "../ui/states";

const REASONS = {
  none: "",
  expired: "Your session is over. Sign in again, and you are back where you were.",
  left: "You are signed out.",
} as const;

export function SignInPage({ reason }: { reason: keyof typeof REASONS }): JSX.Element {
  const [token, setToken] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const action = useAction();
  useEffect(() => {
    document.title = "Sign in · Skep";
    field.current?.focus();
  }, []);
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (!(await action.run(() => signIn(token)))) field.current?.focus();
  };
  return (
    <main class="alone">
      <div class="sign-in">
        <h1>
          <Logo /> Sign in to Skep
        </h1>
        {REASONS[reason] === "" ? null : (
          <p class="notice" role="status">
            {REASONS[reason]}
          </p>
        )}
        <form onSubmit={(event) => void send(event)}>
          <div class="field">
            <label for="token">API token</label>
            <input
              id="token"
              ref={field}
              type="password"
              autocomplete="off"
              autocapitalize="off"
              spellcheck={false}
              required
              placeholder="skep_…"
              aria-describedby="token-hint"
              value={token}
              onInput={(event) => setToken(event.currentTarget.value)}
            />
            <p class="hint" id="token-hint">
              The first token is in the file <code>admin-token</code> of the platform’s data directory:{" "}
              <code>cat /var/lib/skep/admin-token</code>. Others are made with <code>skep token create</code>.
            </p>
          </div>
          {action.error === undefined ? null : <Failed error={action.error} />}
          <button type="submit" class="button primary block" disabled={action.busy}>
            {action.busy ? "Signing in…" : "Sign in"}
          </button>
        </form>
        <p class="quiet">
          The token is not kept in this browser. A cookie that scripts cannot read stands for it, for 12 hours after you
          last used it.
        </p>
      </div>
      <ThemeButton />
    </main>
  );
}
