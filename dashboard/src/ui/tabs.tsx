/** Parts of one page, each with an address of its own. Arrow keys go from one to the next, as in every list of tabs. */
import type { JSX } from "preact";
import { useRef } from "preact/hooks";

import { Link } from "../router";

interface TabsProps {
  label: string;
  tabs: readonly { to: string; title: string }[];
  current: string;
}

export function Tabs({ label, tabs, current }: TabsProps): JSX.Element {
  const list = useRef<HTMLElement>(null);
  const move = (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const links = [...(list.current?.querySelectorAll("a") ?? [])];
    const place = links.findIndex((link) => link === document.activeElement);
    if (place < 0) return;
    event.preventDefault();
    links[(place + step + links.length) % links.length]?.focus();
  };
  return (
    <nav class="tabs" aria-label={label} ref={list} onKeyDown={move}>
      {tabs.map(({ to, title }) => (
        <Link key={to} to={to} current={to === current}>
          {title}
        </Link>
      ))}
    </nav>
  );
}
