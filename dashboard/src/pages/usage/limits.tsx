/** The plan, how far the limits are, and the most that a month may cost. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../../api/endpoints";
import type { Beyond, Billing, Measure, Plan, SpendCap } from "../../api/types";
import { bytes, count, exact, milliseconds, money, words } from "../../format";
import { useLoad } from "../../load";
import { may } from "../../session";
import { FormDialog } from "../../ui/dialog";
import { Card, Facts, Field, Meter } from "../../ui/parts";
import { Show } from "../../ui/states";

const THEN: readonly (readonly [Beyond, string])[] = [
  ["refuse", "Refuse requests"],
  ["throttle", "Serve some each second"],
  ["bill", "Serve and bill: only warn"],
];

function amount(of: Measure, value: string): string {
  if (of.currency !== undefined) return money(value, of.currency);
  if (of.what === "cpu_ms_per_day") return milliseconds(Number(value));
  if (of.what === "bytes_out_per_day") return bytes(Number(value));
  return exact(Number(value));
}

function price(plan: Plan): [string, string][] {
  const found: [string, string][] = [["Base", `${money(plan.base, plan.currency)} a month`]];
  const { requests, cpu, egress } = plan;
  if (requests !== null) {
    const price = money(requests.price_per_million, plan.currency);
    const free = Number(requests.price_per_million) === 0;
    found.push(["Requests", free ? "free" : `${count(requests.included)} included, then ${price} a million`]);
  }
  if (cpu !== null) {
    const price = money(cpu.price_per_million_ms, plan.currency);
    found.push(["CPU time", `${count(cpu.included_ms)} ms included, then ${price} a million ms`]);
  }
  if (egress !== null) {
    found.push(["Sent", `${egress.included_gb} GB included, then ${money(egress.price_per_gb, plan.currency)} a GB`]);
  }
  return found;
}

function CapDialog({ of, onClose, onDone }: { of: Billing; onClose: () => void; onDone: () => void }): JSX.Element {
  const [most, setMost] = useState(of.terms.cap?.per_month ?? "");
  const [then, setThen] = useState<Beyond>(of.terms.cap?.then ?? "refuse");
  const [rate, setRate] = useState(String(of.terms.cap?.throttle_per_second ?? 10));
  const save = async (): Promise<void> => {
    const text = most.trim();
    const cap: SpendCap | null =
      text === ""
        ? null
        : { per_month: text, then, ...(then === "throttle" ? { throttle_per_second: Number(rate) } : {}) };
    await api.putTerms({ ...of.terms, cap });
    onDone();
  };
  return (
    <FormDialog title="Spend cap" submit="Save" onClose={onClose} work={save}>
      <Field
        label={`The most that a month may cost, in ${of.plan.currency}`}
        hint="Empty: no cap of your own. It holds within a second."
      >
        {(id) => (
          <input
            id={id}
            inputMode="decimal"
            autocomplete="off"
            pattern="[0-9]+(\.[0-9]{1,2})?"
            title="An amount such as 20.00"
            placeholder="20.00"
            value={most}
            onInput={(event) => setMost(event.currentTarget.value)}
          />
        )}
      </Field>
      <Field label="Beyond it">
        {(id) => (
          <select id={id} value={then} onChange={(event) => setThen(event.currentTarget.value as Beyond)}>
            {THEN.map(([value, text]) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
        )}
      </Field>
      {then === "throttle" ? (
        <Field label="Requests a second that are served beyond it">
          {(id) => (
            <input
              id={id}
              type="number"
              min={1}
              required
              value={rate}
              onInput={(event) => setRate(event.currentTarget.value)}
            />
          )}
        </Field>
      ) : null}
    </FormDialog>
  );
}

export function Limits(): JSX.Element {
  const billing = useLoad(api.billing, [], 10_000);
  const [editing, setEditing] = useState(false);
  return (
    <Card
      title="Plan and limits"
      actions={
        may("account_write") && billing.data !== undefined ? (
          <button type="button" class="button small" onClick={() => setEditing(true)}>
            Change the spend cap
          </button>
        ) : null
      }
    >
      <Show of={billing}>
        {(of) => (
          <>
            {of.standing.account === null ? null : (
              <p class="notice bad" role="alert">
                {of.standing.account.reason}
              </p>
            )}
            <Facts
              of={[
                ["Plan", of.plan.title],
                ...price(of.plan),
                [
                  "Spend cap",
                  of.terms.cap === null
                    ? "none"
                    : `${money(of.terms.cap.per_month, of.plan.currency)} a month, then ${of.terms.cap.then}`,
                ],
              ]}
            />
            {of.standing.measures.length === 0 ? (
              <p class="quiet">No limit of the plan or of your own.</p>
            ) : (
              <ul class="measures">
                {of.standing.measures.map((measure) => {
                  const name = `${words(measure.what)}${measure.worker === null ? "" : ` of ${measure.worker}`}`;
                  return (
                    <li key={name + measure.period}>
                      <span>{name}</span>
                      <span class="number">
                        {amount(measure, measure.used)} of {amount(measure, measure.allowed)} ({measure.percent} %)
                      </span>
                      <Meter
                        percent={measure.percent}
                        label={name}
                        tone={measure.percent >= 100 ? "bad" : measure.percent >= 80 ? "warn" : "accent"}
                      />
                    </li>
                  );
                })}
              </ul>
            )}
            {editing ? <CapDialog of={of} onClose={() => setEditing(false)} onDone={billing.reload} /> : null}
          </>
        )}
      </Show>
    </Card>
  );
}
