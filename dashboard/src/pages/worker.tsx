/** One Worker: its parts, each with an address of its own. */
import type { JSX } from "preact";

import * as api from "../api/endpoints";
import { useLoad } from "../load";
import { Link } from "../router";
import { Icon } from "../ui/icons";
import { Empty } from "../ui/states";
import { Tabs } from "../ui/tabs";
import { CronsTab } from "./worker/crons";
import { LiveTab } from "./worker/live";
import { LogsTab } from "./worker/logs";
import { RoutesTab } from "./worker/routes";
import { SecretsTab } from "./worker/secrets";
import { SettingsTab } from "./worker/settings";
import { TailTab } from "./worker/tail";
import { VersionsTab } from "./worker/versions";

const TABS: Readonly<Record<string, { title: string; part: (props: { name: string }) => JSX.Element }>> = {
  live: { title: "Live", part: LiveTab },
  tail: { title: "Tail", part: TailTab },
  logs: { title: "Logs", part: LogsTab },
  versions: { title: "Versions", part: VersionsTab },
  settings: { title: "Settings", part: SettingsTab },
  secrets: { title: "Secrets", part: SecretsTab },
  routes: { title: "Routes", part: RoutesTab },
  crons: { title: "Crons", part: CronsTab },
};

export function WorkerPage({ name, tab }: { name: string; tab: string }): JSX.Element {
  const address = useLoad((signal) => api.address(name, signal), [name]);
  const to = (part: string): string => `/workers/${encodeURIComponent(name)}${part === "live" ? "" : `/${part}`}`;
  const Part = TABS[tab]?.part;
  const url = address.data?.subdomain.enabled === true ? address.data.subdomain.url : undefined;
  if (address.error?.isMissing === true) {
    return (
      <Empty title={`There is no Worker “${name}”`}>
        <p>
          It may have been deleted. <Link to="/">See the others</Link>
        </p>
      </Empty>
    );
  }
  return (
    <>
      <p class="under-title">
        <Link to="/">Workers</Link>
        {url === undefined ? null : (
          <a href={url} target="_blank" rel="noreferrer">
            {url.replace(/^https?:\/\//, "")} <Icon name="external" />
            <span class="hidden">(opens a new tab)</span>
          </a>
        )}
      </p>
      <Tabs
        label={`Parts of ${name}`}
        current={to(tab)}
        tabs={Object.entries(TABS).map(([part, { title }]) => ({ to: to(part), title }))}
      />
      {Part === undefined ? <Empty title="There is no such part" /> : <Part key={tab} name={name} />}
    </>
  );
}
