/** How Workers do: requests, errors and how long they take, drawn over time. */
import type { ComponentChildren, JSX } from "preact";

import type { Analytics, Point } from "../api/types";
import { count, digits, exact, microseconds, milliseconds, percent, round } from "../format";
import { Chart, type Series, Spark } from "../ui/chart";
import { Card } from "../ui/parts";

export interface Totals {
  requests: number;
  errors: number;
  cpu_us: number;
  cold_starts: number;
}

export function total(series: readonly Point[]): Totals {
  const sum = { requests: 0, errors: 0, cpu_us: 0, cold_starts: 0 };
  for (const point of series) {
    sum.requests += point.requests;
    sum.errors += point.errors;
    sum.cpu_us += point.cpu_us;
    sum.cold_starts += point.cold_starts;
  }
  return sum;
}

export function rate(part: number, whole: number): string {
  return percent(whole === 0 ? 0 : part / whole);
}

interface TileProps {
  title: string;
  value: ComponentChildren;
  note: ComponentChildren;
  spark?: readonly number[];
  tone?: Series["tone"];
}

export function Tile({ title, value, note, spark, tone = "accent" }: TileProps): JSX.Element {
  return (
    <div class="tile">
      <dt>{title}</dt>
      <dd>
        <span class="tile-value">{value}</span>
        <span class="quiet">{note}</span>
      </dd>
      {spark === undefined ? null : <Spark values={spark} tone={tone} />}
    </div>
  );
}

/** The figures of the time that is shown. */
export function Tiles({ of, more }: { of: Analytics; more?: ComponentChildren }): JSX.Element {
  const sum = total(of.series);
  const values = (pick: (point: Point) => number): number[] => of.series.map(pick);
  const last = of.series.slice(-6);
  const now = total(last).requests / Math.max(1, last.length * of.step);
  return (
    <dl class="tiles">
      <Tile
        title="Requests"
        value={count(sum.requests)}
        note={`${digits(now)} a second now`}
        spark={values((p) => p.requests)}
      />
      <Tile
        title="Errors"
        value={rate(sum.errors, sum.requests)}
        note={`${exact(sum.errors)} failed`}
        spark={values((p) => p.errors)}
        tone="bad"
      />
      <Tile
        title="CPU time"
        value={microseconds(sum.cpu_us)}
        note={`${microseconds(sum.requests === 0 ? 0 : sum.cpu_us / sum.requests)} each`}
        spark={values((p) => p.cpu_us)}
        tone="second"
      />
      <Tile
        title="Cold starts"
        value={exact(sum.cold_starts)}
        note={`${rate(sum.cold_starts, sum.requests)} of requests`}
        spark={values((p) => p.cold_starts)}
        tone="third"
      />
      {more}
    </dl>
  );
}

function largest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}

/** Requests and latency over time. */
export function Charts({ of, actions }: { of: Analytics; actions?: ComponentChildren }): JSX.Element {
  const at = of.series.map((point) => point.at);
  const sum = total(of.series);
  const minutes = Math.round((of.series.length * of.step) / 60);
  const perSecond = (value: number): number => value / of.step;
  const slowest = largest(of.series.map((point) => point.p99_ms));
  return (
    <div class="two">
      <Card title="Requests" note="per second" actions={actions}>
        <Chart
          label={`Requests and errors per second in the last ${minutes} minutes`}
          summary={`${exact(sum.requests)} requests, ${exact(sum.errors)} of them failed.`}
          at={at}
          series={[
            { name: "Requests", tone: "accent", values: of.series.map((point) => perSecond(point.requests)) },
            { name: "Errors", tone: "bad", values: of.series.map((point) => perSecond(point.errors)) },
          ]}
          format={digits}
          axis={round}
          together="most"
        />
      </Card>
      <Card title="Duration" note="wall time">
        <Chart
          label={`Duration of requests in the last ${minutes} minutes`}
          summary={slowest === null ? "No requests." : `The slowest 1 % took up to ${milliseconds(slowest)}.`}
          at={at}
          series={[
            {
              name: "p50",
              tone: "accent",
              values: of.series.map((point) => (point.requests === 0 ? null : point.p50_ms)),
            },
            {
              name: "p90",
              tone: "second",
              values: of.series.map((point) => (point.requests === 0 ? null : point.p90_ms)),
            },
            {
              name: "p99",
              tone: "third",
              values: of.series.map((point) => (point.requests === 0 ? null : point.p99_ms)),
            },
          ]}
          format={milliseconds}
          axis={(value) => (value >= 1000 ? `${round(value / 1000)} s` : `${round(value)} ms`)}
          together="most"
        />
      </Card>
    </div>
  );
}

/** How far back is looked. */
export const RANGES = [
  ["300", "5 minutes"],
  ["900", "15 minutes"],
  ["3600", "1 hour"],
] as const;
