/** What the same traffic would cost elsewhere, in a sentence and a table. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../../api/endpoints";
import type { Offer } from "../../api/types";
import { NONE, count, money } from "../../format";
import { useLoad } from "../../load";
import { Badge, Card, Field } from "../../ui/parts";
import { Show } from "../../ui/states";
import { Table } from "../../ui/table";

function breakEven(of: Offer): string {
  switch (of.break_even?.vm_is_cheaper) {
    case "above":
      return `above ${count(of.break_even.requests_per_day ?? 0)} a day`;
    case "always":
      return "always";
    case "never":
      return "never";
    default:
      return NONE;
  }
}

export function Advisor(): JSX.Element {
  const [price, setPrice] = useState("5.00");
  const [cores, setCores] = useState("1");
  const [asked, setAsked] = useState({ price: "5.00", cores: 1 });
  const comparison = useLoad((signal) => api.comparison(asked.price, asked.cores, signal), [asked.price, asked.cores]);
  return (
    <Card title="Would something else be cheaper?">
      <form
        class="filters inline"
        onSubmit={(event) => {
          event.preventDefault();
          setAsked({ price: price.trim(), cores: Number(cores) });
        }}
      >
        <Field label="A virtual machine costs, a month">
          {(id) => (
            <input
              id={id}
              inputMode="decimal"
              required
              value={price}
              onInput={(event) => setPrice(event.currentTarget.value)}
            />
          )}
        </Field>
        <Field label="Its cores">
          {(id) => (
            <input
              id={id}
              type="number"
              min={1}
              required
              value={cores}
              onInput={(event) => setCores(event.currentTarget.value)}
            />
          )}
        </Field>
        <button type="submit" class="button">
          Compare
        </button>
      </form>
      <Show of={comparison}>
        {(of) => (
          <>
            <p class="sentence">{of.sentence}</p>
            <Table
              label="What the traffic of this month would cost"
              rows={of.offers}
              id={(offer) => offer.plan}
              columns={[
                {
                  title: "Plan",
                  cell: (offer) => (
                    <>
                      {offer.title} {offer.is_own ? <Badge tone="accent">Yours</Badge> : null}
                    </>
                  ),
                },
                {
                  title: "This month",
                  number: true,
                  cell: (offer) => (offer.this_month === null ? NONE : money(offer.this_month, of.currency)),
                },
                { title: "The machine is cheaper", wide: true, number: true, cell: breakEven },
              ]}
            />
          </>
        )}
      </Show>
    </Card>
  );
}
