/** The machines, what they check about themselves, and what somebody should look at. */
import type { JSX } from "preact";

import * as api from "../api/endpoints";
import type { PlatformNode, Status } from "../api/types";
import { ago, bytes, exact, milliseconds } from "../format";
import { inert } from "../inert";
import { useLoad } from "../load";
import { Icon } from "../ui/icons";
import { Ago, Badge, Card, Facts, Meter, type Tone } from "../ui/parts";
import { Show } from "../ui/states";
import { Table } from "../ui/table";

const OFTEN = 5000;
const STATUS: Readonly<Record<Status["status"], readonly [Tone, string]>> = {
  ok: ["good", "All is well"],
  degraded: ["warn", "Something needs a look"],
  down: ["bad", "The platform does not work"],
};

function share(used: number, all: number): number {
  return all > 0 ? (used / all) * 100 : 0;
}

function Node({ of }: { of: PlatformNode }): JSX.Element {
  const disk = of.disk_total - of.disk_free;
  const tone = (percent: number): Tone => (percent >= 95 ? "bad" : percent >= 85 ? "warn" : "accent");
  const memory = share(of.memory_used, of.memory_limit);
  const full = share(disk, of.disk_total);
  return (
    <Card
      title={of.name}
      note={of.version}
      actions={<Badge tone={of.up ? "good" : "bad"}>{of.up ? "Up" : "Down"}</Badge>}
    >
      <ul class="measures">
        <li>
          <span>Memory</span>
          <span class="number">
            {bytes(of.memory_used)} of {bytes(of.memory_limit)}
          </span>
          <Meter percent={memory} label={`Memory of ${of.name}`} tone={tone(memory)} />
        </li>
        <li>
          <span>Disk</span>
          <span class="number">
            {bytes(of.disk_free)} free of {bytes(of.disk_total)}
          </span>
          <Meter percent={full} label={`Disk of ${of.name}`} tone={tone(full)} />
        </li>
      </ul>
      <Facts
        of={[
          ["Started", ago(of.started)],
          ["Last heard of", ago(of.last_heartbeat)],
          ["Cores", exact(of.cores)],
          ["Processes", `${exact(of.runtimes)}, ${exact(of.restarts)} restarts`],
          ["Isolates", exact(of.isolates)],
        ]}
      />
    </Card>
  );
}

export function NodesPage(): JSX.Element {
  const status = useLoad(api.status, [], OFTEN);
  return (
    <Show of={status} what="The state of nodes is" lines={6}>
      {(of) => {
        const [tone, text] = STATUS[of.status];
        return (
          <>
            <p class={`banner ${tone}`} role="status">
              <Icon name={tone === "good" ? "ok" : "warning"} /> <b>{text}</b>
              <span class="quiet">Skep {of.version}</span>
            </p>
            {of.alerts.length === 0 ? null : (
              <Card title="Alerts" flush>
                <Table
                  label="Alerts"
                  rows={of.alerts}
                  id={(alert) => `${alert.event} ${alert.since}`}
                  columns={[
                    { title: "Alert", cell: (alert) => <code>{alert.event}</code> },
                    { title: "What", cell: (alert) => inert(alert.message) },
                    { title: "Since", cell: (alert) => <Ago at={alert.since} /> },
                  ]}
                />
              </Card>
            )}
            {of.nodes.length === 0 ? (
              <p class="quiet">Nodes and checks are shown to who has the permission “operator”.</p>
            ) : null}
            <div class="two">
              {of.nodes.map((node) => (
                <Node key={node.id} of={node} />
              ))}
            </div>
            {of.checks.length === 0 ? null : (
              <Card title="Checks" flush>
                <Table
                  label="Checks"
                  rows={of.checks}
                  id={(check) => check.name}
                  columns={[
                    { title: "Check", by: (check) => check.name, cell: (check) => check.name },
                    {
                      title: "Result",
                      by: (check) => (check.ok ? 1 : 0),
                      cell: (check) => <Badge tone={check.ok ? "good" : "bad"}>{check.ok ? "Good" : "Failed"}</Badge>,
                    },
                    { title: "What was found", cell: (check) => inert(check.message) },
                    { title: "Took", number: true, wide: true, cell: (check) => milliseconds(check.took_ms) },
                    { title: "When", wide: true, cell: (check) => <Ago at={check.at} /> },
                  ]}
                />
              </Card>
            )}
          </>
        );
      }}
    </Show>
  );
}
