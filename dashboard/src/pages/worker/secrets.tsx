/** A Worker's secrets: their names. A value goes in and is never shown. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../../api/endpoints";
import { useLoad } from "../../load";
import { may } from "../../session";
import { FormDialog } from "../../ui/dialog";
import { Card, Field } from "../../ui/parts";
import { Empty, Show } from "../../ui/states";
import { Table } from "../../ui/table";

interface ChangeProps {
  name: string;
  onClose: () => void;
  onDone: () => void;
}

function Add({ name, onClose, onDone }: ChangeProps): JSX.Element {
  const [secret, setSecret] = useState("");
  const [text, setText] = useState("");
  return (
    <FormDialog
      title="Add a secret"
      submit="Add and deploy"
      onClose={onClose}
      work={async () => {
        await api.putSecret(name, secret.trim(), text);
        onDone();
      }}
    >
      <Field label="Name" hint="What the code calls it: env.NAME">
        {(id) => (
          <input
            id={id}
            required
            autocomplete="off"
            autocapitalize="characters"
            spellcheck={false}
            pattern="[A-Za-z_][A-Za-z0-9_]*"
            title="Letters, digits and _, not beginning with a digit"
            value={secret}
            onInput={(event) => setSecret(event.currentTarget.value)}
          />
        )}
      </Field>
      <Field
        label="Value"
        hint="Nobody sees it again, here or in the API. An existing secret of that name is replaced."
      >
        {(id) => (
          <input
            id={id}
            type="password"
            required
            autocomplete="new-password"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        )}
      </Field>
      <p class="quiet">The Worker gets a new version with this secret, and it is deployed at once.</p>
    </FormDialog>
  );
}

function Delete({ name, secret, onClose, onDone }: ChangeProps & { secret: string }): JSX.Element {
  return (
    <FormDialog
      title={`Delete ${secret}?`}
      submit="Delete"
      danger
      onClose={onClose}
      work={async () => {
        await api.deleteSecret(name, secret);
        onDone();
      }}
    >
      <p>
        The code of <b>{name}</b> does not find <code>env.{secret}</code> any more, at once. Earlier versions keep it.
      </p>
    </FormDialog>
  );
}

export function SecretsTab({ name }: { name: string }): JSX.Element {
  const secrets = useLoad((signal) => api.secrets(name, signal), [name]);
  const [adding, setAdding] = useState(false);
  const [deleting, setDeleting] = useState<string | undefined>();
  return (
    <Card
      title="Secrets"
      note="values are never shown"
      flush
      actions={
        may("workers_write") ? (
          <button type="button" class="button small primary" onClick={() => setAdding(true)}>
            Add a secret
          </button>
        ) : null
      }
    >
      <Show of={secrets}>
        {(all) =>
          all.length === 0 ? (
            <Empty title="No secrets">
              <p class="quiet">
                A secret is sealed under the platform’s master key, and only this Worker’s code reads it.
              </p>
            </Empty>
          ) : (
            <Table
              label="Secrets"
              rows={all}
              id={(secret) => secret.name}
              first={[0, false]}
              columns={[
                { title: "Name", by: (secret) => secret.name, cell: (secret) => <code>{secret.name}</code> },
                { title: "Value", cell: () => <span class="quiet">••••••••</span> },
                {
                  title: "Actions",
                  quiet: true,
                  number: true,
                  cell: (secret) =>
                    may("workers_write") ? (
                      <button
                        type="button"
                        class="button small"
                        aria-label={`Delete ${secret.name}`}
                        onClick={() => setDeleting(secret.name)}
                      >
                        Delete
                      </button>
                    ) : null,
                },
              ]}
            />
          )
        }
      </Show>
      {adding ? <Add name={name} onClose={() => setAdding(false)} onDone={secrets.reload} /> : null}
      {deleting === undefined ? null : (
        <Delete name={name} secret={deleting} onClose={() => setDeleting(undefined)} onDone={secrets.reload} />
      )}
    </Card>
  );
}
