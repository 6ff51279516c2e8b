/** Charts: lines or bars over time, as SVG. Who does not see them gets a sentence and a table. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { clockOf, clockShortOf } from "../format";
import { groups, places, ticks } from "./scale";
import { useUnique } from "./unique";

export interface Series {
  name: string;
  /** A class of the style sheet that gives its colour. */
  tone: "accent" | "bad" | "second" | "third";
  /** Nothing where nothing was measured. */
  values: readonly (number | null)[];
}

interface ChartProps {
  /** What is shown, and over which time. */
  label: string;
  /** What the numbers say, in a sentence. */
  summary: string;
  at: readonly number[];
  series: readonly Series[];
  format: (value: number) => string;
  /** How the numbers of the vertical axis are written, if that is another way. */
  axis?: (value: number) => string;
  kind?: "lines" | "bars";
  height?: number;
  /** How a place of the horizontal axis is written; the time of day, if nobody says. */
  place?: (at: number) => string;
  /** How values of neighbours are put together for the table. */
  together?: "sum" | "most";
}

const EDGE = { top: 8, right: 4, bottom: 22, left: 48 };
const ROWS = 12;

function path(values: readonly (number | null)[], x: (index: number) => number, y: (value: number) => number): string {
  let drawn = "";
  let pen = false;
  for (const [index, value] of values.entries()) {
    if (value === null) {
      pen = false;
      continue;
    }
    drawn += `${pen ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = true;
  }
  return drawn;
}

function combined(values: (number | null)[], how: "sum" | "most"): number | null {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return null;
  return how === "sum" ? known.reduce((sum, value) => sum + value, 0) : Math.max(...known);
}

export function Chart(props: ChartProps): JSX.Element {
  const { at, series, format, kind = "lines", height = 190, together = "sum" } = props;
  const place = props.place ?? clockShortOf;
  const axis = props.axis ?? format;
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(600);
  const [hover, setHover] = useState<number | null>(null);
  const clip = useUnique();
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver((entries) => setWidth(Math.max(240, entries[0]?.contentRect.width ?? 600)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const most = Math.max(0, ...series.flatMap((one) => one.values.map((value) => value ?? 0)));
  const marks = ticks(most > 0 ? most : 1, 4);
  const top = marks[marks.length - 1] ?? 1;
  const inner = { width: width - EDGE.left - EDGE.right, height: height - EDGE.top - EDGE.bottom };
  const slots = kind === "bars" ? at.length : Math.max(1, at.length - 1);
  const slot = inner.width / Math.max(1, slots);
  const x = (index: number): number => EDGE.left + (kind === "bars" ? (index + 0.5) * slot : index * slot);
  const y = (value: number): number => EDGE.top + inner.height * (1 - value / top);
  const shown = hover === null ? undefined : at[hover];

  const move = (event: PointerEvent): void => {
    const bounds = box.current?.getBoundingClientRect();
    if (bounds === undefined || at.length === 0) return;
    const inside = event.clientX - bounds.left - EDGE.left;
    const index = kind === "bars" ? Math.floor(inside / slot) : Math.round(inside / slot);
    setHover(Math.max(0, Math.min(at.length - 1, index)));
  };

  return (
    <figure class="chart">
      <div ref={box} class="chart-box" onPointerMove={move} onPointerLeave={() => setHover(null)}>
        <svg
          viewBox={`0 0 ${width} ${height}`}
          width={width}
          height={height}
          role="img"
          aria-label={`${props.label}. ${props.summary}`}
        >
          <clipPath id={clip}>
            <rect x={EDGE.left} y={0} width={inner.width} height={height - EDGE.bottom + 1} />
          </clipPath>
          {marks.map((mark) => (
            <g key={mark} class="grid">
              <line x1={EDGE.left} x2={width - EDGE.right} y1={y(mark)} y2={y(mark)} />
              <text x={EDGE.left - 8} y={y(mark)} dy="0.32em" text-anchor="end">
                {axis(mark)}
              </text>
            </g>
          ))}
          {places(at.length, Math.max(2, Math.floor(inner.width / 110))).map((index) => (
            <text
              key={index}
              class="axis"
              x={x(index)}
              y={height - 4}
              text-anchor={
                kind === "bars" ? "middle" : index === 0 ? "start" : index === at.length - 1 ? "end" : "middle"
              }
            >
              {place(at[index] ?? 0)}
            </text>
          ))}
          <g clip-path={`url(#${clip})`}>
            {series.map((one, order) =>
              kind === "bars" ? (
                <g key={one.name} class={`bars ${one.tone}`}>
                  {one.values.map((value, index) =>
                    value === null || value === 0 ? null : (
                      <rect
                        key={at[index]}
                        x={x(index) - Math.min(slot * 0.36, 22)}
                        y={y(value)}
                        width={Math.min(slot * 0.72, 44)}
                        height={Math.max(1, y(0) - y(value))}
                        rx={Math.min(2, slot / 4)}
                      />
                    ),
                  )}
                </g>
              ) : (
                <g key={one.name} class={`line ${one.tone}`}>
                  {order === 0 && at.length > 1 && one.values.every((value) => value !== null) ? (
                    <path
                      class="area"
                      d={`${path(one.values, x, y)}L${x(at.length - 1).toFixed(1)} ${y(0)}L${EDGE.left} ${y(0)}Z`}
                    />
                  ) : null}
                  <path d={path(one.values, x, y)} />
                </g>
              ),
            )}
          </g>
          {hover === null ? null : (
            <line class="cursor" x1={x(hover)} x2={x(hover)} y1={EDGE.top} y2={height - EDGE.bottom} />
          )}
        </svg>
      </div>
      <figcaption class="legend" aria-hidden="true">
        <span class="quiet">
          {shown === undefined ? "" : props.place === undefined ? clockOf(shown) : place(shown)}
        </span>
        {series.map((one) => {
          const value = hover === null ? null : one.values[hover];
          return (
            <span key={one.name} class={`key ${one.tone}`}>
              {one.name}
              {hover === null ? null : <b>{value === null || value === undefined ? "–" : format(value)}</b>}
            </span>
          );
        })}
      </figcaption>
      <div class="hidden">
        <table>
          <caption>{props.label}</caption>
          <thead>
            <tr>
              <th scope="col">From</th>
              {series.map((one) => (
                <th key={one.name} scope="col">
                  {one.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {groups([...at.keys()], ROWS).map(({ first, rows }) => (
              <tr key={first}>
                <th scope="row">{place(at[first] ?? 0)}</th>
                {series.map((one) => {
                  const value = combined(
                    rows.map((row) => one.values[row] ?? null),
                    together,
                  );
                  return <td key={one.name}>{value === null ? "–" : format(value)}</td>;
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </figure>
  );
}

/** A line without axes, next to the number that it is about. */
export function Spark({ values, tone }: { values: readonly number[]; tone: Series["tone"] }): JSX.Element {
  const most = Math.max(...values, 0);
  const x = (index: number): number => (index * 100) / Math.max(1, values.length - 1);
  const y = (value: number): number => 27 - (most > 0 ? (value / most) * 24 : 0);
  const drawn = path(values, x, y);
  return (
    <svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" aria-hidden="true" focusable="false">
      <g class={`line ${tone}`}>
        {values.length > 1 ? <path class="area" d={`${drawn}L100 28L0 28Z`} /> : null}
        <path d={drawn} />
      </g>
    </svg>
  );
}
