/** What was used, what it costs, what it may cost, and what it would cost elsewhere. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../api/endpoints";
import type { Usage } from "../api/types";
import { bytes, count, dayOf, exact, microseconds, monthOf } from "../format";
import { useLoad } from "../load";
import { Link } from "../router";
import { Chart } from "../ui/chart";
import { Card, Select } from "../ui/parts";
import { Empty, Show } from "../ui/states";
import { Table } from "../ui/table";
import { Advisor } from "./usage/advisor";
import { Invoices } from "./usage/invoices";
import { Limits } from "./usage/limits";

/** Months that are offered at most, from this one back. */
const MONTHS = 12;

/** The last day of a month, or today in the month that is not over. */
function lastDay(month: string): string {
  const [year = 0, number = 1] = month.split("-").map(Number);
  const last = new Date(Date.UTC(year, number, 0)).toISOString().slice(0, 10);
  const today = new Date().toISOString().slice(0, 10);
  return last < today ? last : today;
}

/** Months from the one in which something began to this one, the newest first. */
export function monthsSince(begun: string): string[] {
  const now = new Date();
  const months: string[] = [];
  for (let back = 0; back < MONTHS; back += 1) {
    const month = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1)).toISOString().slice(0, 7);
    if (month < begun.slice(0, 7)) break;
    months.push(month);
  }
  return months;
}

/** Every day of the time, also those on which nothing happened. */
function days(of: Usage, month: string): { at: number; requests: number }[] {
  const found: { at: number; requests: number }[] = [];
  const last = Date.parse(lastDay(month));
  for (let at = Date.parse(`${month}-01`); at <= last; at += 86_400_000) {
    const name = new Date(at).toISOString().slice(0, 10);
    found.push({ at, requests: of.rows.find((row) => row.of === name)?.requests ?? 0 });
  }
  return found;
}

const dayOnly = (at: number): string => String(new Date(at).getUTCDate());

function ByDay({ month }: { month: string }): JSX.Element {
  const usage = useLoad((signal) => api.usage("day", `${month}-01`, lastDay(month), signal), [month]);
  return (
    <Show of={usage}>
      {(of) => {
        const shown = days(of, month);
        return (
          <Chart
            kind="bars"
            label={`Requests by day in ${monthOf(month)}`}
            summary={`${exact(of.total.requests)} requests in ${shown.length} days, until ${dayOf(lastDay(month))}.`}
            at={shown.map(({ at }) => at)}
            series={[{ name: "Requests", tone: "accent", values: shown.map(({ requests }) => requests) }]}
            format={count}
            place={dayOnly}
          />
        );
      }}
    </Show>
  );
}

function ByWorker({ month }: { month: string }): JSX.Element {
  const usage = useLoad((signal) => api.usage("worker", `${month}-01`, lastDay(month), signal), [month]);
  return (
    <Show of={usage}>
      {({ rows }) =>
        rows.length === 0 ? (
          <Empty title="Nothing was used" />
        ) : (
          <Table
            label={`Usage by Worker in ${monthOf(month)}`}
            rows={rows}
            id={(row) => row.of}
            first={[1, true]}
            columns={[
              {
                title: "Worker",
                by: (row) => row.of,
                cell: (row) => <Link to={`/workers/${encodeURIComponent(row.of)}`}>{row.of}</Link>,
              },
              { title: "Requests", number: true, by: (row) => row.requests, cell: (row) => exact(row.requests) },
              { title: "CPU time", number: true, by: (row) => row.cpu_us, cell: (row) => microseconds(row.cpu_us) },
              { title: "Sent", number: true, by: (row) => row.bytes_out, cell: (row) => bytes(row.bytes_out) },
              {
                title: "Cold starts",
                number: true,
                wide: true,
                by: (row) => row.cold_starts,
                cell: (row) => exact(row.cold_starts),
              },
            ]}
          />
        )
      }
    </Show>
  );
}

export function UsagePage(): JSX.Element {
  const account = useLoad(api.accountOf, []);
  const [chosen, setChosen] = useState<string | undefined>();
  return (
    <Show of={account} lines={6}>
      {({ created_on: begun }) => {
        const months = monthsSince(begun);
        const month = chosen ?? months[0] ?? begun.slice(0, 7);
        return (
          <>
            <Card
              title="Requests by day"
              actions={
                <Select
                  label="Month"
                  value={month}
                  options={months.map((name) => [name, monthOf(name)] as const)}
                  onChange={setChosen}
                />
              }
            >
              <ByDay month={month} />
            </Card>
            <Card title="By Worker" note={monthOf(month)} flush>
              <ByWorker month={month} />
            </Card>
            <Limits />
            <Invoices months={months} />
            <Advisor />
          </>
        );
      }}
    </Show>
  );
}
