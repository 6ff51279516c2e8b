/** A version that gets its traffic in steps: how far it is, and the way back. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../../api/endpoints";
import type { Promotion } from "../../api/types";
import { ago, date, duration, exact, percent, short, words } from "../../format";
import { may } from "../../session";
import { FormDialog } from "../../ui/dialog";
import { Badge, Card, Facts, Meter } from "../../ui/parts";

function state(of: Promotion): JSX.Element {
  const tones = { running: "accent", done: "good", rolled_back: "bad", stopped: "warn" } as const;
  return <Badge tone={tones[of.state]}>{words(of.state)}</Badge>;
}

export function PromotionCard(props: { name: string; of: Promotion; onChange: () => void }): JSX.Element {
  const { name, of, onChange } = props;
  const [asking, setAsking] = useState(false);
  const failures = of.requests === 0 ? 0 : of.errors / of.requests;
  return (
    <Card
      title="Gradual promotion"
      actions={
        <>
          {state(of)}
          {of.state === "running" && may("workers_write") ? (
            <button type="button" class="button small danger" onClick={() => setAsking(true)}>
              Stop and go back
            </button>
          ) : null}
        </>
      }
    >
      <Meter percent={of.percentage} label={`Version ${short(of.version_id)} has ${of.percentage} % of the traffic`} />
      <ol class="steps" aria-label="Steps">
        {of.steps.map((step, index) => {
          const here = of.state === "running" && index === of.step;
          const done = of.state === "done" || index < of.step;
          return (
            <li key={step} class={here ? "here" : done ? "done" : ""} aria-current={here ? "step" : undefined}>
              {step} %
            </li>
          );
        })}
      </ol>
      <Facts
        of={[
          ["Version", <code key="v">{short(of.version_id)}</code>],
          ["In place of", of.from === null ? "–" : <code key="f">{short(of.from)}</code>],
          ["In this step", `${exact(of.requests)} requests, ${percent(failures)} failed`],
          [
            "Goes back above",
            of.rollback_on === null ? "never by itself" : `${percent(of.rollback_on.error_rate)} failures`,
          ],
          ["Each step", duration(of.every)],
          of.next_on === null ? ["Begun", `${ago(of.begun_on)} by ${of.author}`] : ["Next step", date(of.next_on)],
        ]}
      />
      {of.reason === null ? null : <p class="notice">{of.reason}</p>}
      {asking ? (
        <FormDialog
          title="Stop this promotion?"
          submit="Stop and go back"
          danger
          onClose={() => setAsking(false)}
          work={async () => {
            await api.stopPromotion(name);
            onChange();
          }}
        >
          <p>
            All traffic of <b>{name}</b> goes to version <code>{short(of.from ?? "")}</code> again, at once.
          </p>
        </FormDialog>
      ) : null}
    </Card>
  );
}
