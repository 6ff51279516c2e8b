//! The keyboard, while the server runs at a terminal: the keys that `wrangler dev` has.

use std::io::IsTerminal as _;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal;
use tokio::sync::mpsc;

use crate::printer::Printer;

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// b: open the browser.
    Browser,
    /// d: where the debugger is.
    Debugger,
    /// c: clear the screen.
    Clear,
    /// x, q, Ctrl-C, Ctrl-D: stop.
    Exit,
}

/// Keys that may wait to be obeyed.
const KEYS: usize = 16;

/// The keyboard in raw mode, until this goes out of scope.
pub(crate) struct Keyboard {
    printer: Printer,
}

impl Keyboard {
    /// Listens to the keyboard if there is a terminal. Gives the keys, and what puts the terminal back.
    pub(crate) fn open(printer: &Printer) -> Option<(Self, mpsc::Receiver<Key>)> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() || terminal::enable_raw_mode().is_err() {
            return None;
        }
        printer.set_raw(true);
        let (sender, keys) = mpsc::channel(KEYS);
        // The thread ends with the process: a read from a terminal cannot be called off.
        let spawned = std::thread::Builder::new().name("keyboard".to_owned()).spawn(move || {
            while let Ok(event) = crossterm::event::read() {
                if let Event::Key(key) = event
                    && let Some(key) = meaning(key)
                    && sender.blocking_send(key).is_err()
                {
                    return;
                }
            }
        });
        let keyboard = Self { printer: printer.clone() };
        spawned.is_ok().then_some((keyboard, keys))
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.printer.set_raw(false);
        // The terminal may be gone already.
        let _ = terminal::disable_raw_mode();
    }
}

fn meaning(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    match event.code {
        KeyCode::Char('c' | 'd') if control => Some(Key::Exit),
        KeyCode::Char('b') => Some(Key::Browser),
        KeyCode::Char('d') => Some(Key::Debugger),
        KeyCode::Char('c') => Some(Key::Clear),
        KeyCode::Char('x' | 'q') => Some(Key::Exit),
        _ => None,
    }
}
