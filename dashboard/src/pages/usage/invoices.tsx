/** One invoice a month, to look at, to print and to calculate with. */
import type { JSX } from "preact";

import * as api from "../../api/endpoints";
import { money, monthOf } from "../../format";
import { useLoad } from "../../load";
import { Badge, Card } from "../../ui/parts";
import { Show } from "../../ui/states";
import { Table } from "../../ui/table";

const FORMATS = ["html", "csv", "json"] as const;

export function Invoices({ months }: { months: readonly string[] }): JSX.Element {
  const key = months.join();
  const invoices = useLoad((signal) => Promise.all(months.map((month) => api.invoice(month, signal))), [key]);
  return (
    <Card title="Invoices" flush>
      <Show of={invoices}>
        {(all) => (
          <Table
            label="Invoices, the newest first"
            rows={all}
            id={(invoice) => invoice.period}
            columns={[
              { title: "Month", cell: (invoice) => monthOf(invoice.period) },
              { title: "Plan", wide: true, cell: (invoice) => invoice.plan_title },
              {
                title: "State",
                wide: true,
                cell: (invoice) => (
                  <Badge tone={invoice.state === "final" ? "good" : "plain"}>
                    {invoice.state === "final" ? "Final" : "Open"}
                  </Badge>
                ),
              },
              { title: "Total", number: true, cell: (invoice) => <b>{money(invoice.total, invoice.currency)}</b> },
              {
                title: "Open",
                number: true,
                cell: (invoice) => (
                  <span class="links">
                    {FORMATS.map((format) => (
                      <a
                        key={format}
                        href={api.invoiceLink(invoice.period, format)}
                        target={format === "csv" ? undefined : "_blank"}
                        rel="noreferrer"
                        aria-label={`Invoice of ${monthOf(invoice.period)} as ${format.toUpperCase()}`}
                      >
                        {format.toUpperCase()}
                      </a>
                    ))}
                  </span>
                ),
              },
            ]}
          />
        )}
      </Show>
    </Card>
  );
}
