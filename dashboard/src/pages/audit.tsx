/** Who changed what, the newest first, in pages. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import * as api from "../api/endpoints";
import type { AuditEntry } from "../api/types";
import { short, words } from "../format";
import { inert } from "../inert";
import { useAction } from "../load";
import { Ago, Card } from "../ui/parts";
import { Empty, Failed, Loading } from "../ui/states";
import { Table } from "../ui/table";

/** Entries that the API answers at once. */
const PAGE = 100;
/** Letters of a detail that are shown. */
const MOST_DETAIL = 200;

const ID = /^([0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32})$/;

/** A text as it is, unless it is an id: nobody reads a whole one. */
function brief(text: string): string {
  return ID.test(text) ? short(text) : text;
}

/** What is in a detail, as words and values. */
function flat(name: string, value: unknown): string[] {
  if (value === null || value === "" || (typeof value === "object" && Object.keys(value).length === 0)) return [];
  if (Array.isArray(value)) {
    const plain = value.every((item) => typeof item !== "object");
    return plain ? flat(name, value.join(", ")) : value.flatMap((item: unknown) => flat(name, item));
  }
  if (typeof value === "object") return Object.entries(value).flatMap(([inner, item]) => flat(inner, item));
  const text = String(value);
  return [`${words(name.replace("workers/", ""))} ${brief(text)}`.trim()];
}

function detail(of: AuditEntry): string {
  const text = flat("", of.detail).join(" · ");
  return text.length > MOST_DETAIL ? `${text.slice(0, MOST_DETAIL)}…` : text;
}

export function AuditPage(): JSX.Element {
  const [entries, setEntries] = useState<readonly AuditEntry[] | undefined>();
  const [more, setMore] = useState(false);
  const action = useAction();
  const look = async (before: number | undefined): Promise<void> => {
    const page = await api.audit(before);
    setEntries((known) => (before === undefined ? page : [...(known ?? []), ...page]));
    setMore(page.length === PAGE);
  };
  useEffect(() => void action.run(() => look(undefined)), []);
  return (
    <Card
      title="Changes"
      flush
      actions={
        <button
          type="button"
          class="button small"
          disabled={action.busy}
          onClick={() => void action.run(() => look(undefined))}
        >
          Look again
        </button>
      }
    >
      {action.error === undefined ? null : (
        <Failed error={action.error} retry={() => void action.run(() => look(undefined))} />
      )}
      {entries === undefined ? (
        action.error === undefined ? (
          <Loading lines={6} />
        ) : null
      ) : entries.length === 0 ? (
        <Empty title="Nothing was changed yet" />
      ) : (
        <Table
          label="Audit log, the newest first"
          rows={entries}
          id={(entry) => String(entry.number)}
          columns={[
            { title: "When", cell: (entry) => <Ago at={entry.at} /> },
            { title: "Who", cell: (entry) => inert(entry.actor) },
            { title: "What", cell: (entry) => <code>{entry.action}</code> },
            { title: "Of", cell: (entry) => inert(brief(entry.target)) },
            { title: "From", wide: true, cell: (entry) => entry.address ?? <span class="quiet">–</span> },
            { title: "Detail", wide: true, cell: (entry) => <span class="detail">{inert(detail(entry))}</span> },
          ]}
        />
      )}
      {more ? (
        <p class="more">
          <button
            type="button"
            class="button"
            disabled={action.busy}
            onClick={() => void action.run(() => look(entries?.[entries.length - 1]?.number))}
          >
            {action.busy ? "Looking…" : "Show older ones"}
          </button>
        </p>
      ) : null}
    </Card>
  );
}
