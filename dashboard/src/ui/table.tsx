/** Tables: sortable where that helps, and scrolled by themselves where they are wider than the screen. */
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";

import { Icon } from "./icons";

export interface Column<R> {
  title: string;
  cell: (row: R) => ComponentChildren;
  /** What it is sorted by. */
  by?: (row: R) => number | string;
  /** Numbers stand on the right. */
  number?: boolean;
  /** Left out on small screens. */
  wide?: boolean;
  /** The title is for screen readers only. */
  quiet?: boolean;
}

interface TableProps<R> {
  label: string;
  rows: readonly R[];
  columns: readonly Column<R>[];
  id: (row: R) => string;
  /** The column that it is sorted by at first, and whether downwards. */
  first?: readonly [number, boolean];
}

function compare(one: number | string, other: number | string): number {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other));
}

export function Table<R>({ label, rows, columns, id, first }: TableProps<R>): JSX.Element {
  const [[column, down], setSort] = useState<readonly [number, boolean]>(first ?? [-1, false]);
  const by = columns[column]?.by;
  const sorted = by === undefined ? rows : [...rows].sort((a, b) => compare(by(a), by(b)) * (down ? -1 : 1));
  const kind = (of: Column<R>): string =>
    [of.number === true ? "number" : "", of.wide === true ? "wide" : ""].join(" ").trim();
  return (
    <div class="table-scroll" role="group" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map((of, index) => {
              const active = index === column;
              const direction = down ? "descending" : "ascending";
              return (
                <th
                  key={of.title}
                  scope="col"
                  class={kind(of)}
                  aria-sort={of.by === undefined ? undefined : active ? direction : "none"}
                >
                  {of.by === undefined ? (
                    <span class={of.quiet === true ? "hidden" : undefined}>{of.title}</span>
                  ) : (
                    <button
                      type="button"
                      class="sort"
                      onClick={() => setSort([index, active ? !down : of.number === true])}
                    >
                      {of.title}
                      <Icon name={active ? (down ? "down" : "up") : "sort"} />
                    </button>
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {sorted.map((row) => (
            <tr key={id(row)}>
              {columns.map((of) => (
                <td key={of.title} class={kind(of)}>
                  {of.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
