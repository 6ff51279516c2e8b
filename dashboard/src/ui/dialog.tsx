/** Dialogs: the browser's own, which keeps the focus inside, closes on Esc and gives the focus back. */
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import { useAction } from "../load";
import { Icon } from "./icons";
import { Failed } from "./states";
import { useUnique } from "./unique";

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}

export function Dialog({ title, onClose, children }: DialogProps): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useUnique();
  useLayoutEffect(() => {
    const element = dialog.current;
    const before = document.activeElement;
    element?.showModal();
    return () => {
      // It gives the focus back, if what had it is still there.
      element?.close();
      if (before === null || !before.isConnected) document.querySelector<HTMLElement>("h1")?.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        // Beside the dialog is its backdrop.
        if (event.target === dialog.current) onClose();
      }}
    >
      <div class="dialog">
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" class="button icon-only" aria-label="Close" onClick={onClose}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

interface FormDialogProps {
  title: string;
  submit: string;
  danger?: boolean;
  onClose: () => void;
  /** Runs when the form is sent; the dialog closes when it is done. */
  work: () => Promise<void>;
  children: ComponentChildren;
}

/** A dialog with a form, or with a question. */
export function FormDialog(props: FormDialogProps): JSX.Element {
  const action = useAction();
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (await action.run(props.work)) props.onClose();
  };
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <form onSubmit={(event) => void send(event)}>
        {props.children}
        {action.error === undefined ? null : <Failed error={action.error} />}
        <footer>
          <button type="button" class="button" onClick={props.onClose}>
            Cancel
          </button>
          <button type="submit" class={`button ${props.danger === true ? "danger" : "primary"}`} disabled={action.busy}>
            {action.busy ? "Working…" : props.submit}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
