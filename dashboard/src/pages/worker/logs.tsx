/** What a Worker did: events that are kept, searched on the platform, in pages. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import * as api from "../../api/endpoints";
import type { LogEvent, TraceItem } from "../../api/types";
import { exact } from "../../format";
import { useAction } from "../../load";
import { Card, Select } from "../../ui/parts";
import { Empty, Failed, Loading, NotAvailable } from "../../ui/states";
import { EventRow, type Shown } from "./event";

const STATUS = [
  ["", "All"],
  ["error", "Failed"],
  ["5xx", "5xx"],
  ["4xx", "4xx"],
  ["404", "404"],
] as const;
const LEVELS = [
  ["", "All"],
  ["error", "Error"],
  ["warn", "Warning"],
  ["log", "Log"],
  ["info", "Info"],
  ["debug", "Debug"],
] as const;
const SPANS = [
  ["900", "15 minutes"],
  ["3600", "1 hour"],
  ["86400", "1 day"],
  ["604800", "7 days"],
] as const;
const PAGE = 100;

/** What is left of an event whose details cannot be read any more. */
function unreadable(event: LogEvent): TraceItem {
  const { at, outcome, worker } = event;
  return { outcome, scriptName: worker, eventTimestamp: at, exceptions: [], logs: [], event: null };
}

function kept(event: LogEvent): Shown {
  return {
    at: event.at,
    outcome: event.outcome,
    status: event.status,
    what: event.method ?? event.kind,
    url: event.url ?? "",
    cpuMs: event.cpu_us / 1000,
    wallMs: event.wall_us / 1000,
    ray: event.ray,
    item: event.event ?? unreadable(event),
  };
}

interface Asked {
  search: string;
  status: (typeof STATUS)[number][0];
  level: (typeof LEVELS)[number][0];
  span: (typeof SPANS)[number][0];
}

export function LogsTab({ name }: { name: string }): JSX.Element {
  const [asked, setAsked] = useState<Asked>({ search: "", status: "", level: "", span: "3600" });
  const [search, setSearch] = useState("");
  const [events, setEvents] = useState<readonly LogEvent[] | undefined>();
  const [dropped, setDropped] = useState(0);
  const [next, setNext] = useState<string | null>(null);
  const action = useAction();
  const look = async (cursor: string | undefined): Promise<void> => {
    const { search: text, status, level, span } = asked;
    const since = Date.now() - Number(span) * 1000;
    const page = await api.logs({ worker: name, since, search: text, status, level, limit: PAGE, cursor });
    setEvents((before) => (cursor === undefined ? page.events : [...(before ?? []), ...page.events]));
    setNext(page.next);
    const left = (page.gaps ?? []).reduce((sum, gap) => sum + gap.dropped, 0);
    setDropped((before) => (cursor === undefined ? left : before + left));
  };
  useEffect(() => void action.run(() => look(undefined)), [name, asked]);
  const change = (part: Partial<Asked>): void => setAsked((before) => ({ ...before, ...part }));
  if (action.error?.isMissing === true) return <NotAvailable what="Logs are" />;
  return (
    <Card
      title="Logs"
      flush
      actions={
        <button
          type="button"
          class="button small"
          disabled={action.busy}
          onClick={() => void action.run(() => look(undefined))}
        >
          {action.busy ? "Looking…" : "Look again"}
        </button>
      }
    >
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          change({ search: search.trim() });
        }}
      >
        <Select label="Last" value={asked.span} options={SPANS} onChange={(span) => change({ span })} />
        <Select label="Status" value={asked.status} options={STATUS} onChange={(status) => change({ status })} />
        <Select label="At least" value={asked.level} options={LEVELS} onChange={(level) => change({ level })} />
        <input
          type="search"
          class="search"
          aria-label="Search logs"
          placeholder="Search in logs"
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
        <button type="submit" class="button small">
          Search
        </button>
      </form>
      {action.error === undefined ? null : <Failed error={action.error} />}
      {dropped === 0 ? null : (
        <p class="stale" role="status">
          {exact(dropped)} events were not kept, as there were too many at once.
        </p>
      )}
      {events === undefined ? (
        action.error === undefined ? (
          <Loading lines={6} />
        ) : null
      ) : events.length === 0 ? (
        <Empty title="Nothing was found">
          <p class="quiet">
            Choose a longer time or fewer filters. Events are kept of Workers whose <code>wrangler.jsonc</code> has{" "}
            <code>{'"observability": { "enabled": true }'}</code>.
          </p>
        </Empty>
      ) : (
        <>
          <ol class="events" aria-label="Events, the newest first">
            {events.map((event) => (
              <EventRow key={event.id} of={kept(event)} />
            ))}
          </ol>
          {next === null ? null : (
            <p class="more">
              <button
                type="button"
                class="button"
                disabled={action.busy}
                onClick={() => void action.run(() => look(next))}
              >
                {action.busy ? "Looking…" : "Show older ones"}
              </button>
            </p>
          )}
        </>
      )}
    </Card>
  );
}
