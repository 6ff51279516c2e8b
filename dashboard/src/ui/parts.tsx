/** Small parts that pages are made of. */
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";

import { ago, date } from "../format";
import { Icon } from "./icons";
import { useUnique } from "./unique";

export function Card(props: {
  title: string;
  actions?: ComponentChildren;
  note?: string;
  flush?: boolean;
  children: ComponentChildren;
}): JSX.Element {
  const id = useUnique();
  return (
    <section class="card" aria-labelledby={id}>
      <header class="card-head">
        <h2 id={id}>{props.title}</h2>
        {props.note === undefined ? null : <span class="quiet">{props.note}</span>}
        {props.actions === undefined ? null : <div class="actions">{props.actions}</div>}
      </header>
      <div class={props.flush === true ? "card-flush" : "card-body"}>{props.children}</div>
    </section>
  );
}

export type Tone = "good" | "bad" | "warn" | "plain" | "accent";

export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }): JSX.Element {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** A label above a field. */
export function Field(props: {
  label: string;
  hint?: string;
  children: (id: string) => ComponentChildren;
}): JSX.Element {
  const id = useUnique();
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      {props.children(id)}
      {props.hint === undefined ? null : <p class="hint">{props.hint}</p>}
    </div>
  );
}

export function Select<V extends string>(props: {
  label: string;
  value: V;
  options: readonly (readonly [V, string])[];
  onChange: (value: V) => void;
}): JSX.Element {
  const id = useUnique();
  return (
    <span class="inline-field">
      <label for={id}>{props.label}</label>
      <select
        id={id}
        value={props.value}
        onChange={(event) => {
          const chosen = props.options.find(([value]) => value === event.currentTarget.value);
          if (chosen !== undefined) props.onChange(chosen[0]);
        }}
      >
        {props.options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </span>
  );
}

/** A share as a bar. What it is about is written next to it. */
export function Meter({ percent, label, tone }: { percent: number; label: string; tone?: Tone }): JSX.Element {
  const shown = Math.max(0, Math.min(100, percent));
  return (
    <div
      class={`meter ${tone ?? "accent"}`}
      role="meter"
      aria-label={label}
      aria-valuenow={Math.round(shown)}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <div class="meter-bar" style={{ width: `${shown}%` }} />
    </div>
  );
}

/** A text, and a button that copies it. */
export function Copy({ text, label }: { text: string; label: string }): JSX.Element {
  const [said, setSaid] = useState("Copy");
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied");
    } catch {
      setSaid("Select the text and copy it");
    }
  };
  return (
    <span class="copy">
      <code>{text}</code>
      <button type="button" class="button small" onClick={() => void copy()} aria-label={`Copy ${label}`}>
        <Icon name="copy" /> <span aria-live="polite">{said}</span>
      </button>
    </span>
  );
}

/** How long ago something was; when exactly, for who points at it. */
export function Ago({ at }: { at: number | string }): JSX.Element {
  const when = new Date(at);
  return (
    <time dateTime={Number.isNaN(when.getTime()) ? undefined : when.toISOString()} title={date(at)}>
      {ago(at)}
    </time>
  );
}

/** Names and values. */
export function Facts({ of }: { of: readonly (readonly [string, ComponentChildren])[] }): JSX.Element {
  return (
    <dl class="facts">
      {of.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
