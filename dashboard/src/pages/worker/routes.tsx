/** Where a Worker answers besides its own address: routes and custom domains. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../../api/endpoints";
import { useLoad } from "../../load";
import { may } from "../../session";
import { FormDialog } from "../../ui/dialog";
import { Card, Field } from "../../ui/parts";
import { Empty, Show } from "../../ui/states";
import { Table } from "../../ui/table";

interface Kind {
  title: string;
  one: string;
  add: string;
  example: string;
  none: string;
  hint: string;
}

const ROUTES: Kind = {
  title: "Routes",
  one: "route",
  add: "Add a route",
  example: "example.com/api/*",
  none: "No routes",
  hint: "Requests that fit go to this Worker. The domain must be yours: “skep domains add” says how to prove it.",
};
const DOMAINS: Kind = {
  title: "Custom domains",
  one: "custom domain",
  add: "Add a custom domain",
  example: "shop.example.com",
  none: "No custom domains",
  hint: "Every request for this host goes to the Worker. Point its DNS to the platform; the certificate comes by itself.",
};

interface ListProps {
  kind: Kind;
  list: readonly string[];
  /** Replaces the whole list. */
  put: (list: string[]) => Promise<unknown>;
  onDone: () => void;
}

function List({ kind, list, put, onDone }: ListProps): JSX.Element {
  const [adding, setAdding] = useState(false);
  const [text, setText] = useState("");
  const [deleting, setDeleting] = useState<string | undefined>();
  const change = (changed: string[]) => async (): Promise<void> => {
    await put(changed);
    onDone();
  };
  return (
    <>
      {list.length === 0 ? (
        <Empty title={kind.none}>
          <p class="quiet">{kind.hint}</p>
        </Empty>
      ) : (
        <Table
          label={kind.title}
          rows={list}
          id={(one) => one}
          first={[0, false]}
          columns={[
            { title: kind.title, by: (one) => one, cell: (one) => <code>{one}</code> },
            {
              title: "Actions",
              quiet: true,
              number: true,
              cell: (one) =>
                may("workers_write") ? (
                  <button
                    type="button"
                    class="button small"
                    aria-label={`Delete ${one}`}
                    onClick={() => setDeleting(one)}
                  >
                    Delete
                  </button>
                ) : null,
            },
          ]}
        />
      )}
      {may("workers_write") ? (
        <p class="more">
          <button type="button" class="button small" onClick={() => setAdding(true)}>
            {kind.add}
          </button>
        </p>
      ) : null}
      {adding ? (
        <FormDialog
          title={kind.add}
          submit="Add"
          onClose={() => setAdding(false)}
          work={change([...list, text.trim()])}
        >
          <Field label={kind.one.charAt(0).toUpperCase() + kind.one.slice(1)} hint={kind.hint}>
            {(id) => (
              <input
                id={id}
                required
                autocomplete="off"
                autocapitalize="off"
                spellcheck={false}
                placeholder={kind.example}
                value={text}
                onInput={(event) => setText(event.currentTarget.value)}
              />
            )}
          </Field>
        </FormDialog>
      ) : null}
      {deleting === undefined ? null : (
        <FormDialog
          title={`Delete this ${kind.one}?`}
          submit="Delete"
          danger
          onClose={() => setDeleting(undefined)}
          work={change(list.filter((one) => one !== deleting))}
        >
          <p>
            Requests for <code>{deleting}</code> do not reach the Worker any more, at once.
          </p>
        </FormDialog>
      )}
    </>
  );
}

export function RoutesTab({ name }: { name: string }): JSX.Element {
  const routes = useLoad((signal) => api.routes(name, signal), [name]);
  const domains = useLoad((signal) => api.domains(name, signal), [name]);
  return (
    <>
      <Card title={ROUTES.title} flush>
        <Show of={routes}>
          {(all) => (
            <List
              kind={ROUTES}
              list={all.map((route) => route.pattern)}
              put={(list) => api.putRoutes(name, list)}
              onDone={routes.reload}
            />
          )}
        </Show>
      </Card>
      <Card title={DOMAINS.title} flush>
        <Show of={domains}>
          {(all) => (
            <List
              kind={DOMAINS}
              list={all.map((domain) => domain.hostname)}
              put={(list) => api.putDomains(name, list)}
              onDone={domains.reload}
            />
          )}
        </Show>
      </Card>
    </>
  );
}
