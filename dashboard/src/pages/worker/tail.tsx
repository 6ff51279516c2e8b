/** What a Worker does, as it happens. */
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { exact } from "../../format";
import { inert, logged } from "../../inert";
import { Icon } from "../../ui/icons";
import { Badge, Card, Select } from "../../ui/parts";
import { Empty, Failed } from "../../ui/states";
import { EventRow, type Shown, shown } from "./event";
import { type Connection, watch } from "./watch";

/** Events that are kept: older ones go. */
const KEPT = 500;
const OUTCOMES = [
  ["all", "All"],
  ["ok", "Succeeded"],
  ["failed", "Failed"],
  ["4xx", "4xx"],
  ["5xx", "5xx"],
] as const;
const METHODS = [
  ["", "All"],
  ["GET", "GET"],
  ["POST", "POST"],
  ["PUT", "PUT"],
  ["PATCH", "PATCH"],
  ["DELETE", "DELETE"],
] as const;
const SAMPLES = [
  ["1", "All"],
  ["0.1", "10 %"],
  ["0.01", "1 %"],
] as const;
const FAILURES = [
  "exception",
  "exceededCpu",
  "exceededMemory",
  "responseStreamDisconnected",
  "scriptNotFound",
  "unknown",
];

type Outcome = (typeof OUTCOMES)[number][0];
type Numbered = Shown & { number: number };

function filters(outcome: Outcome, method: string, sample: string): unknown[] {
  const asked: unknown[] = [];
  if (outcome === "ok") asked.push({ outcome: ["ok"] });
  if (outcome === "failed") asked.push({ outcome: FAILURES });
  if (method !== "") asked.push({ method: [method] });
  if (sample !== "1") asked.push({ sampling_rate: Number(sample) });
  return asked;
}

function fits(of: Shown, outcome: Outcome, search: string): boolean {
  const status = of.status ?? 0;
  if (outcome === "4xx" && (status < 400 || status > 499)) return false;
  if (outcome === "5xx" && status < 500) return false;
  if (search === "") return true;
  const texts = [
    of.url,
    of.what,
    ...of.item.logs.map((log) => logged(log.message)),
    ...of.item.exceptions.map((e) => e.message),
  ];
  return texts.some((text) => text.toLowerCase().includes(search));
}

export function TailTab({ name }: { name: string }): JSX.Element {
  const [outcome, setOutcome] = useState<Outcome>("all");
  const [method, setMethod] = useState<(typeof METHODS)[number][0]>("");
  const [sample, setSample] = useState<(typeof SAMPLES)[number][0]>("1");
  const [search, setSearch] = useState("");
  const [paused, setPaused] = useState(false);
  const [told, setTold] = useState<{ of: string; connection: Connection } | undefined>();
  const [events, setEvents] = useState<readonly Numbered[]>([]);
  const [dropped, setDropped] = useState(0);
  const [waiting, setWaiting] = useState(0);
  const arrived = useRef<Numbered[]>([]);
  const number = useRef(0);
  const isPaused = useRef(false);
  isPaused.current = paused;

  const asked = useMemo(() => filters(outcome, method, sample), [outcome, method, sample]);
  const key = JSON.stringify(asked);
  // What was said of the filters before says nothing of these.
  const connection: Connection = told?.of === key ? told.connection : { state: "connecting" };
  useEffect(() => {
    let frame = 0;
    // However many come, the page is drawn once for all of them.
    const draw = (): void => {
      frame = 0;
      if (isPaused.current) {
        setWaiting(arrived.current.length);
        return;
      }
      const came = arrived.current.reverse();
      arrived.current = [];
      setEvents((before) => [...came, ...before].slice(0, KEPT));
    };
    const stop = watch(name, asked, {
      onConnection: (connection) => setTold({ of: key, connection }),
      onEvent: (item) => {
        if (item.event?.type === "overload") {
          const left = /^\d+/.exec(item.event.message ?? "");
          setDropped((before) => before + Number(left?.[0] ?? 1));
          return;
        }
        number.current += 1;
        arrived.current.push({ ...shown(item), number: number.current });
        if (arrived.current.length > KEPT) arrived.current.shift();
        if (frame === 0) frame = requestAnimationFrame(draw);
      },
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, [name, key]);

  const resume = (): void => {
    if (paused) {
      const came = arrived.current.reverse();
      arrived.current = [];
      setEvents((before) => [...came, ...before].slice(0, KEPT));
      setWaiting(0);
    }
    setPaused(!paused);
  };
  const clear = (): void => {
    arrived.current = [];
    setEvents([]);
    setDropped(0);
    setWaiting(0);
  };

  const wanted = search.trim().toLowerCase();
  const listed = events.filter((event) => fits(event, outcome, wanted));
  return (
    <Card
      title="Live tail"
      flush
      actions={
        <>
          <Badge tone={connection.state === "open" ? (paused ? "warn" : "good") : "plain"}>
            {connection.state === "open"
              ? paused
                ? `Paused, ${waiting} new`
                : "Watching"
              : connection.state === "lost"
                ? "Lost"
                : "Connecting"}
          </Badge>
          <button type="button" class="button small" aria-pressed={paused} onClick={resume}>
            <Icon name={paused ? "play" : "pause"} /> {paused ? "Go on" : "Pause"}
          </button>
          <button type="button" class="button small" onClick={clear}>
            Clear
          </button>
        </>
      }
    >
      <div class="filters">
        <Select label="Outcome" value={outcome} options={OUTCOMES} onChange={setOutcome} />
        <Select label="Method" value={method} options={METHODS} onChange={setMethod} />
        <Select label="Sample" value={sample} options={SAMPLES} onChange={setSample} />
        <input
          type="search"
          class="search"
          aria-label="Search events"
          placeholder="Search in URLs and logs"
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
      </div>
      {connection.state === "lost" ? <Failed error={connection.error} /> : null}
      {dropped === 0 ? null : (
        <p class="stale" role="status">
          <Icon name="warning" /> {exact(dropped)} dropped: they come faster than they are read. Choose a smaller sample
          or another filter.
        </p>
      )}
      {listed.length === 0 ? (
        <Empty title={events.length === 0 ? "Waiting for events" : "No event fits the filters"}>
          <p class="quiet">
            {events.length === 0
              ? `Each request of ${inert(name)} appears here when it is over. Nothing is kept when you leave.`
              : "Change the outcome or the search."}
          </p>
        </Empty>
      ) : (
        <ol class="events" aria-label="Events, the newest first">
          {listed.map((event) => (
            <EventRow key={event.number} of={event} />
          ))}
        </ol>
      )}
    </Card>
  );
}
