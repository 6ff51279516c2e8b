/** Small pictures, drawn with lines of the text's colour. They repeat what is written next to them. */
import type { JSX } from "preact";

const PATHS = {
  overview: "M3 12h4l3-8 4 16 3-8h4",
  usage: "M4 20V10m5 10V4m6 16v-8m5 8V7",
  nodes: "M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01",
  tokens: "M15 9a4 4 0 1 0-3.5 4L14 15.5h2v2h2v2h3v-3L14.8 11",
  audit: "M8 4h11v16H5V7zM8 4v3H5M9 12h6M9 16h6",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2m0 16v2M2 12h2m16 0h2M5 5l1.5 1.5m11 11L19 19M19 5l-1.5 1.5m-11 11L5 19",
  moon: "M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5z",
  system: "M3 5h18v11H3zM9 20h6m-3-4v4",
  out: "M14 5H5v14h9M11 12h10m-3-3l3 3-3 3",
  sort: "M8 9l4-4 4 4M8 15l4 4 4-4",
  up: "M7 14l5-5 5 5",
  down: "M7 10l5 5 5-5",
  right: "M10 7l5 5-5 5",
  search: "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM16 16l4 4",
  external: "M10 5H5v14h14v-5M13 4h7v7M20 4l-9 9",
  warning: "M12 4L2.5 20h19zM12 10v5m0 2.5v.01",
  ok: "M5 13l4 4L19 7",
  pause: "M9 5v14M15 5v14",
  play: "M8 5l11 7-11 7z",
  copy: "M9 9h10v11H9zM5 15V4h10",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** A skep: what bees lived in before there were boxes. */
export function Logo(): JSX.Element {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path d="M16 3c-5 0-8.4 3-9 7h18c-.6-4-4-7-9-7z" />
      <path d="M5.8 12c-.7 1.4-1 2.9-1 4.5h22.4c0-1.6-.3-3.1-1-4.5z" />
      <path d="M4.5 18.5c0 1.6.2 3.1.6 4.5h21.8c.4-1.4.6-2.9.6-4.5z" />
      <path d="M4 25c-.6 0-1 .4-1 1v2c0 .6.4 1 1 1h8.5v-2a3.5 3.5 0 0 1 7 0v2H28c.6 0 1-.4 1-1v-2c0-.6-.4-1-1-1z" />
    </svg>
  );
}
