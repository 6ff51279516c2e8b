/** When a Worker's scheduled handler runs, and running it now. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../../api/endpoints";
import type { CronRun } from "../../api/types";
import { milliseconds } from "../../format";
import { inert } from "../../inert";
import { useAction, useLoad } from "../../load";
import { may } from "../../session";
import { Ago, Badge, Card } from "../../ui/parts";
import { Empty, Failed, Show } from "../../ui/states";
import { Table } from "../../ui/table";

const RARELY = 10_000;

function Ran({ cron, of }: { cron: string; of: CronRun }): JSX.Element {
  return (
    <div class="ran" role="status">
      <Badge tone={of.error === null ? "good" : "bad"}>{of.error === null ? "Succeeded" : "Failed"}</Badge>
      <span>
        <code>{cron}</code> ran for {milliseconds(of.wall_time_ms)}
      </span>
      {of.error === null ? null : <pre class="line bad">{inert(of.error)}</pre>}
    </div>
  );
}

export function CronsTab({ name }: { name: string }): JSX.Element {
  const schedules = useLoad((signal) => api.schedules(name, signal), [name], RARELY);
  const [ran, setRan] = useState<{ cron: string; of: CronRun } | undefined>();
  const action = useAction();
  const run = (cron: string): void =>
    void action.run(async () => {
      setRan(undefined);
      setRan({ cron, of: await api.runCron(name, cron) });
      schedules.reload();
    });
  return (
    <Card title="Cron triggers" note="times are UTC" flush>
      <Show of={schedules}>
        {({ schedules: all }) =>
          all.length === 0 ? (
            <Empty title="No cron triggers">
              <p class="quiet">
                Name them in <code>wrangler.jsonc</code>, such as{" "}
                <code>{'"triggers": { "crons": ["*/5 * * * *"] }'}</code>, and deploy.
              </p>
            </Empty>
          ) : (
            <Table
              label="Cron triggers"
              rows={all}
              id={(schedule) => schedule.cron}
              columns={[
                { title: "Cron", cell: (schedule) => <code>{schedule.cron}</code> },
                {
                  title: "Last due",
                  cell: (schedule) => (schedule.last_due === null ? "not yet" : <Ago at={schedule.last_due} />),
                },
                {
                  title: "Actions",
                  quiet: true,
                  number: true,
                  cell: (schedule) =>
                    may("workers_write") ? (
                      <button
                        type="button"
                        class="button small"
                        disabled={action.busy}
                        onClick={() => run(schedule.cron)}
                      >
                        {action.busy ? "Running…" : "Run now"}
                      </button>
                    ) : null,
                },
              ]}
            />
          )
        }
      </Show>
      {ran === undefined ? null : <Ran cron={ran.cron} of={ran.of} />}
      {action.error === undefined ? null : <Failed error={action.error} />}
    </Card>
  );
}
