/** API tokens: who has which, a new one, which is shown once, and the end of one. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../api/endpoints";
import type { Permission, Token } from "../api/types";
import { dayOf, words } from "../format";
import { useLoad } from "../load";
import { may, signed } from "../session";
import { Dialog, FormDialog } from "../ui/dialog";
import { Ago, Badge, Card, Copy, Field } from "../ui/parts";
import { Show } from "../ui/states";
import { Table } from "../ui/table";

const SCOPES: readonly (readonly [Permission, string])[] = [
  ["workers_read", "See Workers, versions, logs, names of secrets"],
  ["workers_write", "Deploy, delete, change secrets and routes"],
  ["account_read", "See usage, invoices, tokens, the audit log"],
  ["account_write", "Change tokens, members and spend caps"],
  ["storage_read", "See namespaces and databases"],
  ["storage_write", "Change them"],
  ["operator", "Own the machine: accounts, plans, the master key"],
];

interface MakeProps {
  onClose: () => void;
  onMade: (token: { name: string; value: string }) => void;
}

function Make({ onClose, onMade }: MakeProps): JSX.Element {
  const [name, setName] = useState("");
  const [worker, setWorker] = useState("");
  const [expires, setExpires] = useState("");
  const [scopes, setScopes] = useState<readonly Permission[]>(["workers_read"]);
  const work = async (): Promise<void> => {
    const made = await api.createToken({
      name: name.trim(),
      permissions: SCOPES.map(([scope]) => scope).filter((scope) => scopes.includes(scope)),
      ...(worker.trim() === "" ? {} : { worker: worker.trim() }),
      ...(expires === "" ? {} : { expires_on: `${expires}T00:00:00Z` }),
    });
    onMade({ name: made.name, value: made.value });
  };
  return (
    <FormDialog title="Create a token" submit="Create" onClose={onClose} work={work}>
      <Field label="Name" hint="Who or what will use it. The audit log shows it.">
        {(id) => (
          <input
            id={id}
            required
            autocomplete="off"
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        )}
      </Field>
      <fieldset>
        <legend>It may</legend>
        {SCOPES.map(([scope, text]) => (
          <label key={scope} class="check">
            <input
              type="checkbox"
              checked={scopes.includes(scope)}
              disabled={!may(scope)}
              onChange={(event) =>
                setScopes(event.currentTarget.checked ? [...scopes, scope] : scopes.filter((other) => other !== scope))
              }
            />
            <span>
              {words(scope)} <span class="quiet">{text}</span>
            </span>
          </label>
        ))}
      </fieldset>
      <div class="side-by-side">
        <Field label="Only for the Worker" hint="Empty: for all.">
          {(id) => (
            <input
              id={id}
              autocomplete="off"
              value={worker}
              onInput={(event) => setWorker(event.currentTarget.value)}
            />
          )}
        </Field>
        <Field label="Expires" hint="Empty: never.">
          {(id) => (
            <input id={id} type="date" value={expires} onInput={(event) => setExpires(event.currentTarget.value)} />
          )}
        </Field>
      </div>
    </FormDialog>
  );
}

export function TokensPage(): JSX.Element {
  const tokens = useLoad(api.tokens, []);
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<{ name: string; value: string } | undefined>();
  const [revoking, setRevoking] = useState<Token | undefined>();
  const own = signed.value.state === "in" ? signed.value.session.token.id : "";
  return (
    <Card
      title="Tokens of this account"
      flush
      actions={
        may("account_write") ? (
          <button type="button" class="button small primary" onClick={() => setMaking(true)}>
            Create a token
          </button>
        ) : null
      }
    >
      <Show of={tokens}>
        {(all) => (
          <Table
            label="API tokens"
            rows={all}
            id={(token) => token.id}
            columns={[
              {
                title: "Name",
                by: (token) => token.name,
                cell: (token) => (
                  <>
                    <b>{token.name}</b> {token.id === own ? <Badge tone="accent">Yours</Badge> : null}
                  </>
                ),
              },
              {
                title: "It may",
                cell: (token) => (
                  <span class="scopes">
                    {token.permissions.map((scope) => (
                      <Badge key={scope} tone="plain">
                        {words(scope)}
                      </Badge>
                    ))}
                    {token.worker === null ? null : <Badge tone="warn">only {token.worker}</Badge>}
                  </span>
                ),
              },
              {
                title: "Made",
                wide: true,
                by: (token) => token.created_on,
                cell: (token) => <Ago at={token.created_on} />,
              },
              {
                title: "Expires",
                wide: true,
                by: (token) => token.expires_on ?? Number.MAX_SAFE_INTEGER,
                cell: (token) =>
                  token.expires_on === null ? (
                    <span class="quiet">never</span>
                  ) : token.expires_on < Date.now() ? (
                    <Badge tone="bad">Expired</Badge>
                  ) : (
                    dayOf(token.expires_on)
                  ),
              },
              {
                title: "Actions",
                quiet: true,
                number: true,
                cell: (token) =>
                  may("account_write") ? (
                    <button
                      type="button"
                      class="button small"
                      aria-label={`Revoke ${token.name}`}
                      onClick={() => setRevoking(token)}
                    >
                      Revoke
                    </button>
                  ) : null,
              },
            ]}
          />
        )}
      </Show>
      {making ? (
        <Make
          onClose={() => setMaking(false)}
          onMade={(token) => {
            setMade(token);
            tokens.reload();
          }}
        />
      ) : null}
      {made === undefined || making ? null : (
        <Dialog title={`The token “${made.name}”`} onClose={() => setMade(undefined)}>
          <p>Copy it now: it is not shown again, as only its hash is kept.</p>
          <Copy text={made.value} label="the token" />
          <footer>
            <button type="button" class="button primary" onClick={() => setMade(undefined)}>
              Done
            </button>
          </footer>
        </Dialog>
      )}
      {revoking === undefined ? null : (
        <FormDialog
          title={`Revoke “${revoking.name}”?`}
          submit="Revoke"
          danger
          onClose={() => setRevoking(undefined)}
          work={async () => {
            await api.revokeToken(revoking.id);
            tokens.reload();
          }}
        >
          <p>Whoever uses it is refused from now on, and sessions that were begun with it end at once.</p>
          {revoking.id === own ? (
            <p class="notice bad">It is the one that you signed in with: you will be signed out.</p>
          ) : null}
        </FormDialog>
      )}
    </Card>
  );
}
