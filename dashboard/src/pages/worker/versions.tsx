/** Versions of a Worker, which of them has how much of the traffic, and the way back to one. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../../api/endpoints";
import type { Deployment, Version } from "../../api/types";
import { ago, date, short } from "../../format";
import { useLoad } from "../../load";
import { may } from "../../session";
import { FormDialog } from "../../ui/dialog";
import { Ago, Badge, Card, Field, Meter } from "../../ui/parts";
import { Empty, Show } from "../../ui/states";
import { type Column, Table } from "../../ui/table";
import { PromotionCard } from "./promotion";

const OFTEN = 3000;

function Live({ of, versions }: { of: Deployment; versions: readonly Version[] }): JSX.Element {
  return (
    <ul class="shares">
      {of.versions.map(({ version_id: id, percentage }) => {
        const version = versions.find((one) => one.id === id);
        return (
          <li key={id}>
            <span>
              <code>{short(id)}</code>
              {version === undefined ? null : <span class="quiet"> version {version.number}</span>}
            </span>
            <Meter percent={percentage} label={`Share of version ${short(id)}`} />
            <b class="number">{percentage} %</b>
          </li>
        );
      })}
    </ul>
  );
}

interface BackProps {
  name: string;
  version: Version;
  onClose: () => void;
  onDone: () => void;
}

function RollBack({ name, version, onClose, onDone }: BackProps): JSX.Element {
  const [message, setMessage] = useState("");
  return (
    <FormDialog
      title={`Roll back ${name}?`}
      submit="Roll back"
      danger
      onClose={onClose}
      work={async () => {
        await api.deploy(name, version.id, message.trim() === "" ? "Rolled back in the dashboard" : message.trim());
        onDone();
      }}
    >
      <p>
        Version <code>{short(version.id)}</code> (number {version.number}, of {date(version.metadata.created_on)}) gets
        all of the traffic, at once. Its own secrets and bindings come back with it.
      </p>
      <Field label="Why" hint="Others see it in the list of deployments.">
        {(id) => (
          <input id={id} value={message} maxLength={200} onInput={(event) => setMessage(event.currentTarget.value)} />
        )}
      </Field>
    </FormDialog>
  );
}

export function VersionsTab({ name }: { name: string }): JSX.Element {
  const versions = useLoad((signal) => api.versions(name, signal), [name]);
  const deployments = useLoad((signal) => api.deployments(name, signal), [name], OFTEN);
  const promotion = useLoad((signal) => api.promotion(name, signal), [name], OFTEN);
  const [back, setBack] = useState<Version | undefined>();
  const current = deployments.data?.deployments[0];
  const share = (id: string): number => current?.versions.find((one) => one.version_id === id)?.percentage ?? 0;
  const reload = (): void => {
    versions.reload();
    deployments.reload();
    promotion.reload();
  };
  const isRunning = promotion.data?.state === "running";
  const gradual =
    promotion.data === undefined ? null : <PromotionCard name={name} of={promotion.data} onChange={reload} />;
  const columns: readonly Column<Version>[] = [
    {
      title: "Version",
      cell: (version) => (
        <span class="share">
          <code>{short(version.id)}</code> <span class="quiet">{version.number}</span>
        </span>
      ),
    },
    {
      title: "Traffic",
      cell: (version) =>
        share(version.id) > 0 ? <Badge tone="good">{share(version.id)} %</Badge> : <span class="quiet">–</span>,
    },
    {
      title: "Message",
      wide: true,
      cell: (version) => version.annotations["workers/message"] ?? <span class="quiet">–</span>,
    },
    { title: "By", wide: true, cell: (version) => version.metadata.author_email },
    { title: "Made", cell: (version) => <Ago at={version.metadata.created_on} /> },
    {
      title: "Actions",
      quiet: true,
      number: true,
      cell: (version) =>
        share(version.id) === 100 || !may("workers_write") ? null : (
          <button
            type="button"
            class="button small"
            aria-label={`Roll back to version ${version.number}`}
            onClick={() => setBack(version)}
          >
            Roll back
          </button>
        ),
    },
  ];
  return (
    <>
      {isRunning ? gradual : null}
      <Card title="Deployed now">
        <Show of={deployments}>
          {() =>
            current === undefined ? (
              <Empty title="No version is deployed" />
            ) : (
              <>
                <Live of={current} versions={versions.data?.items ?? []} />
                <p class="quiet">
                  {ago(current.created_on)} by {current.author_email} with {current.source}
                  {current.annotations["workers/message"] === undefined
                    ? ""
                    : `: ${current.annotations["workers/message"]}`}
                </p>
              </>
            )
          }
        </Show>
      </Card>
      {isRunning ? null : gradual}
      <Card title="Versions" flush>
        <Show of={versions}>
          {({ items }) => (
            <Table label="Versions, the newest first" rows={items} columns={columns} id={(version) => version.id} />
          )}
        </Show>
      </Card>
      <Card title="Deployments" flush>
        <Show of={deployments}>
          {({ deployments: all }) => (
            <Table
              label="Deployments, the newest first"
              rows={all}
              id={(deployment) => deployment.id}
              columns={[
                { title: "When", cell: (of) => <Ago at={of.created_on} /> },
                {
                  title: "Versions",
                  cell: (of) =>
                    of.versions.map(({ version_id: id, percentage }) => (
                      <span key={id} class="share">
                        <code>{short(id)}</code> {percentage} %
                      </span>
                    )),
                },
                {
                  title: "Message",
                  wide: true,
                  cell: (of) => of.annotations["workers/message"] ?? <span class="quiet">–</span>,
                },
                { title: "By", cell: (of) => `${of.author_email} with ${of.source}` },
              ]}
            />
          )}
        </Show>
      </Card>
      {back === undefined ? null : (
        <RollBack name={name} version={back} onClose={() => setBack(undefined)} onDone={reload} />
      )}
    </>
  );
}
