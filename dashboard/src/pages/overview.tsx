/** How everything does, and the list of Workers. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../api/endpoints";
import type { Script, WorkerFigures } from "../api/types";
import { count, exact, microseconds, milliseconds, money, NONE } from "../format";
import { useLoad } from "../load";
import { Link } from "../router";
import { may } from "../session";
import { Ago, Card, Select } from "../ui/parts";
import { Empty, Failed, Loading, NotAvailable, Show } from "../ui/states";
import { type Column, Table } from "../ui/table";
import { Charts, RANGES, Tile, Tiles, rate } from "./figures";

/** Milliseconds between two looks at what changes all the time, and at what changes now and then. */
const OFTEN = 3000;
const RARELY = 20_000;

interface Row {
  script: Script;
  figures: WorkerFigures | undefined;
}

const figure = (pick: (of: WorkerFigures) => number) => (row: Row) =>
  row.figures === undefined ? -1 : pick(row.figures);

const COLUMNS: readonly Column<Row>[] = [
  {
    title: "Worker",
    by: (row) => row.script.id,
    cell: (row) => (
      <Link to={`/workers/${encodeURIComponent(row.script.id)}`} class="strong">
        {row.script.id}
      </Link>
    ),
  },
  {
    title: "Requests",
    number: true,
    by: figure((of) => of.requests),
    cell: ({ figures: of }) => (of ? count(of.requests) : NONE),
  },
  {
    title: "Errors",
    number: true,
    by: figure((of) => (of.requests === 0 ? 0 : of.errors / of.requests)),
    cell: ({ figures: of }) =>
      of === undefined ? (
        NONE
      ) : (
        <span class={of.errors > 0 ? "bad-text" : "quiet"}>{rate(of.errors, of.requests)}</span>
      ),
  },
  {
    title: "p50",
    number: true,
    wide: true,
    by: figure((of) => of.p50_ms ?? -1),
    cell: ({ figures: of }) => milliseconds(of?.p50_ms),
  },
  {
    title: "p99",
    number: true,
    by: figure((of) => of.p99_ms ?? -1),
    cell: ({ figures: of }) => milliseconds(of?.p99_ms),
  },
  {
    title: "CPU each",
    number: true,
    wide: true,
    by: figure((of) => of.cpu_us / Math.max(1, of.requests)),
    cell: ({ figures: of }) => (of === undefined || of.requests === 0 ? NONE : microseconds(of.cpu_us / of.requests)),
  },
  {
    title: "Cold starts",
    number: true,
    wide: true,
    by: figure((of) => of.cold_starts),
    cell: ({ figures: of }) => (of ? exact(of.cold_starts) : NONE),
  },
  {
    title: "Changed",
    wide: true,
    by: (row) => row.script.modified_on,
    cell: (row) => (
      <span class="quiet">
        <Ago at={row.script.modified_on} />
      </span>
    ),
  },
];

function Cost(): JSX.Element {
  const month = new Date().toISOString().slice(0, 7);
  const invoice = useLoad((signal) => api.invoice(month, signal), [month], RARELY);
  const value =
    invoice.data === undefined
      ? invoice.error === undefined
        ? "…"
        : NONE
      : money(invoice.data.total, invoice.data.currency);
  return (
    <Tile
      title="This month"
      value={value}
      note={<Link to="/usage">{invoice.data?.plan_title ?? "Usage and invoices"}</Link>}
    />
  );
}

export function OverviewPage(): JSX.Element {
  const [since, setSince] = useState<(typeof RANGES)[number][0]>("3600");
  const [search, setSearch] = useState("");
  const analytics = useLoad((signal) => api.analytics(undefined, Number(since), signal), [since], OFTEN);
  const workers = useLoad(api.workers, [], RARELY);
  const of = analytics.data;
  return (
    <>
      {of !== undefined ? (
        <>
          {analytics.error === undefined ? null : <Failed error={analytics.error} />}
          <Tiles of={of} more={may("account_read") ? <Cost /> : null} />
          <Charts of={of} actions={<Select label="Last" value={since} options={RANGES} onChange={setSince} />} />
        </>
      ) : analytics.error === undefined ? (
        <Loading lines={6} />
      ) : analytics.error.isMissing ? (
        <>
          <dl class="tiles">
            <Cost />
          </dl>
          <NotAvailable what="Live figures are" />
        </>
      ) : (
        <Failed error={analytics.error} retry={analytics.reload} />
      )}
      <Card
        title="Workers"
        flush
        actions={
          <input
            type="search"
            class="search"
            aria-label="Search Workers"
            placeholder="Search"
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        }
      >
        <Show of={workers}>
          {(scripts) => {
            const wanted = search.trim().toLowerCase();
            const rows = scripts
              .filter((script) => script.id.toLowerCase().includes(wanted))
              .map((script) => ({ script, figures: of?.workers.find((one) => one.worker === script.id) }));
            if (scripts.length === 0) {
              return (
                <Empty title="No Workers yet">
                  <p>
                    Deploy the first one: <code>skep init my-app && cd my-app && skep deploy</code>, or{" "}
                    <code>npx wrangler deploy</code>.
                  </p>
                </Empty>
              );
            }
            if (rows.length === 0) {
              return (
                <Empty title={`No Worker has “${search.trim()}” in its name`}>
                  <button type="button" class="button small" onClick={() => setSearch("")}>
                    Show all {scripts.length}
                  </button>
                </Empty>
              );
            }
            return (
              <Table label="Workers" rows={rows} columns={COLUMNS} id={(row) => row.script.id} first={[1, true]} />
            );
          }}
        </Show>
      </Card>
    </>
  );
}
