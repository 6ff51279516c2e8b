/** How a Worker is set up: what its code finds in `env`, and how it is run. Deploys change it. */
import type { JSX } from "preact";

import * as api from "../../api/endpoints";
import type { Binding } from "../../api/types";
import { NONE, words } from "../../format";
import { inert } from "../../inert";
import { useLoad } from "../../load";
import { Badge, Card, Facts } from "../../ui/parts";
import { Empty, Show } from "../../ui/states";
import { Table } from "../../ui/table";

/** What a binding leads to. A secret's value is not in the API. */
function target(binding: Binding): string {
  if (binding.type.startsWith("secret")) return "hidden";
  const { name: _name, type: _type, ...rest } = binding;
  const values = Object.values(rest).filter((value) => value !== null && value !== undefined);
  const [only] = values;
  if (values.length === 1) return typeof only === "string" ? only : JSON.stringify(only);
  return values.length === 0 ? NONE : JSON.stringify(rest);
}

export function SettingsTab({ name }: { name: string }): JSX.Element {
  const settings = useLoad((signal) => api.settings(name, signal), [name]);
  const address = useLoad((signal) => api.address(name, signal), [name]);
  return (
    <>
      <Card title="Run">
        <Show of={settings}>
          {(of) => (
            <Facts
              of={[
                ["Compatibility date", of.compatibility_date ?? NONE],
                [
                  "Compatibility flags",
                  of.compatibility_flags.length === 0 ? "none" : of.compatibility_flags.join(", "),
                ],
                [
                  "Own address",
                  address.data === undefined
                    ? "…"
                    : address.data.subdomain.enabled
                      ? address.data.subdomain.url
                      : "off",
                ],
                ["Previews", address.data === undefined ? "…" : address.data.subdomain.previews_enabled ? "on" : "off"],
                ["Logs are kept", of.observability?.enabled === true ? "yes" : "no"],
              ]}
            />
          )}
        </Show>
      </Card>
      <Card title="Bindings" note="of the newest version" flush>
        <Show of={settings}>
          {({ bindings }) =>
            bindings.length === 0 ? (
              <Empty title="No bindings">
                <p class="quiet">
                  What the code finds in <code>env</code> comes from <code>wrangler.jsonc</code> and from the secrets.
                </p>
              </Empty>
            ) : (
              <Table
                label="Bindings"
                rows={bindings}
                id={(binding) => binding.name}
                columns={[
                  { title: "Name", by: (binding) => binding.name, cell: (binding) => <code>{binding.name}</code> },
                  {
                    title: "Kind",
                    by: (binding) => binding.type,
                    cell: (binding) => <Badge tone="plain">{words(binding.type)}</Badge>,
                  },
                  { title: "Value", cell: (binding) => <span class="value">{inert(target(binding))}</span> },
                ]}
              />
            )
          }
        </Show>
      </Card>
    </>
  );
}
