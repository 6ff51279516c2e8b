/** What is around every page: where one can go, who is signed in, dark or light. */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Session } from "./api/types";
import { useAction } from "./load";
import { Link, path, visits } from "./router";
import { signOut } from "./session";
import { type Theme, choose, theme } from "./theme";
import { Icon, type IconName, Logo } from "./ui/icons";
import { Failed } from "./ui/states";

const PLACES: readonly { to: string; title: string; icon: IconName }[] = [
  { to: "/", title: "Overview", icon: "overview" },
  { to: "/usage", title: "Usage and invoices", icon: "usage" },
  { to: "/nodes", title: "Nodes and health", icon: "nodes" },
  { to: "/tokens", title: "API tokens", icon: "tokens" },
  { to: "/audit", title: "Audit log", icon: "audit" },
];

const THEMES: readonly { theme: Theme; icon: IconName; next: Theme }[] = [
  { theme: "system", icon: "system", next: "light" },
  { theme: "light", icon: "sun", next: "dark" },
  { theme: "dark", icon: "moon", next: "system" },
];

export function ThemeButton(): JSX.Element {
  const { icon, next } = THEMES.find((one) => one.theme === theme.value) ?? { icon: "system", next: "light" };
  return (
    <button
      type="button"
      class="button icon-only"
      aria-label={`Theme: ${theme.value}. Change to ${next}`}
      title={`Theme: ${theme.value}`}
      onClick={() => choose(next)}
    >
      <Icon name={icon} />
    </button>
  );
}

function isHere(to: string, at: string): boolean {
  return to === "/" ? at === "/" || at.startsWith("/workers/") : at === to;
}

export function Shell({ session, children }: { session: Session; children: ComponentChildren }): JSX.Element {
  const [open, setOpen] = useState(false);
  const leaving = useAction();
  const visit = visits.value;
  useEffect(() => setOpen(false), [visit]);
  return (
    <div class="shell">
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="side" onKeyDown={(event) => event.key === "Escape" && setOpen(false)}>
        <div class="side-top">
          <Link to="/" class="brand">
            <Logo /> Skep
          </Link>
          <button
            type="button"
            class="button icon-only menu-button"
            aria-label="Menu"
            aria-expanded={open}
            aria-controls="menu"
            onClick={() => setOpen(!open)}
          >
            <Icon name={open ? "close" : "menu"} />
          </button>
        </div>
        <div id="menu" class={open ? "menu open" : "menu"}>
          <nav aria-label="Main">
            <ul>
              {PLACES.map(({ to, title, icon }) => (
                <li key={to}>
                  <Link to={to} current={isHere(to, path.value)}>
                    <Icon name={icon} /> {title}
                  </Link>
                </li>
              ))}
            </ul>
          </nav>
          <div class="side-foot">
            {leaving.error === undefined ? null : <Failed error={leaving.error} />}
            <p class="who">
              <b>{session.account.name}</b>
              <span class="quiet">{session.token.name}</span>
            </p>
            <div class="actions">
              <ThemeButton />
              <button type="button" class="button" disabled={leaving.busy} onClick={() => void leaving.run(signOut)}>
                <Icon name="out" /> Sign out
              </button>
            </div>
          </div>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}
