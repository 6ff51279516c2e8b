/** One event of a Worker, in a line; its details when somebody opens it. All of its text is the Worker's or a visitor's: shown, never run. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import type { TraceItem } from "../../api/types";
import { clockOf, date, milliseconds, short, words } from "../../format";
import { inert, logged } from "../../inert";
import { Icon } from "../../ui/icons";
import { Badge, Facts, type Tone } from "../../ui/parts";
import { useUnique } from "../../ui/unique";

export interface Shown {
  at: number;
  outcome: string;
  status: number | null;
  what: string;
  url: string;
  cpuMs: number | null;
  wallMs: number | null;
  ray: string | null;
  item: TraceItem;
}

export function shown(item: TraceItem): Shown {
  const { event } = item;
  return {
    at: item.eventTimestamp,
    outcome: item.outcome,
    status: event?.response?.status ?? null,
    what:
      event?.request?.method ?? (event?.cron !== undefined ? "cron" : (event?.queue ?? event?.rpcMethod ?? "event")),
    url: event?.request?.url ?? event?.cron ?? "",
    cpuMs: item.cpuTime ?? null,
    wallMs: item.wallTime ?? null,
    ray: event?.request?.headers?.["cf-ray"] ?? null,
    item,
  };
}

function tone(of: Shown): Tone {
  if (of.outcome !== "ok" && of.outcome !== "canceled") return "bad";
  if (of.status !== null && of.status >= 500) return "bad";
  return of.status !== null && of.status >= 400 ? "warn" : "good";
}

/** A URL without what is the same everywhere. */
function pathOf(url: string): string {
  const place = url.indexOf("/", url.indexOf("://") + 3);
  return url.includes("://") && place > 0 ? url.slice(place) : url;
}

const LEVELS: Readonly<Record<string, Tone>> = { error: "bad", warn: "warn" };

function Details({ of }: { of: Shown }): JSX.Element {
  const { item } = of;
  const headers = Object.entries(item.event?.request?.headers ?? {});
  return (
    <>
      <Facts
        of={[
          ["At", date(of.at)],
          ["Outcome", words(of.outcome)],
          ["Version", item.scriptVersion === undefined ? "–" : <code>{short(item.scriptVersion.id)}</code>],
          ["CPU time", milliseconds(of.cpuMs)],
          ["Wall time", milliseconds(of.wallMs)],
          ...(of.ray === null ? [] : ([["Ray", <code key="ray">{inert(of.ray)}</code>]] as const)),
        ]}
      />
      {of.url === "" ? null : <pre class="line">{inert(of.url)}</pre>}
      {item.exceptions.map((exception, index) => (
        <pre class="line bad" key={index}>
          {inert(exception.stack ?? `${exception.name}: ${exception.message}`)}
        </pre>
      ))}
      {item.logs.map((log, index) => (
        <pre class={`line ${LEVELS[log.level] ?? ""}`} key={index}>
          <span class="level">{log.level}</span> {logged(log.message)}
        </pre>
      ))}
      {headers.length === 0 ? null : (
        <details>
          <summary>{headers.length} request headers</summary>
          <pre class="line">{headers.map(([name, value]) => `${inert(name)}: ${inert(value)}`).join("\n")}</pre>
        </details>
      )}
    </>
  );
}

export function EventRow({ of }: { of: Shown }): JSX.Element {
  const [open, setOpen] = useState(false);
  const id = useUnique();
  const lines = of.item.logs.length + of.item.exceptions.length;
  const first =
    of.item.exceptions[0]?.message ?? (of.item.logs[0] === undefined ? "" : logged(of.item.logs[0].message));
  return (
    <li class={open ? "event open" : "event"}>
      <button type="button" aria-expanded={open} aria-controls={id} onClick={() => setOpen(!open)}>
        <Icon name={open ? "down" : "right"} />
        <time dateTime={new Date(of.at).toISOString()}>{clockOf(of.at)}</time>
        <Badge tone={tone(of)}>{of.status ?? words(of.outcome)}</Badge>
        <span class="method">{inert(of.what)}</span>
        <span class="url">{inert(pathOf(of.url))}</span>
        <span class="first">{inert(first.slice(0, 300))}</span>
        <span class="took">{milliseconds(of.wallMs)}</span>
        <span class="hidden">{lines} log lines</span>
      </button>
      <div id={id} class="event-details" hidden={!open}>
        {open ? <Details of={of} /> : null}
      </div>
    </li>
  );
}
