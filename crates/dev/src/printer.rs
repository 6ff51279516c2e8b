//! What a person sees: lines to the terminal, written by one thread in batches, so that no request waits for a terminal.
//!
//! A line is appended to a buffer; the printer's thread takes the buffer and writes it. When a terminal is slower than
//! the Worker talks, lines are left out and counted instead of piling up.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long lines are gathered before they are written: short for an eye, long for a machine.
const BATCH: Duration = Duration::from_millis(10);
/// Bytes that may wait to be written.
const MOST_WAITING: usize = 4 * 1024 * 1024;

/// Which stream a line goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

#[derive(Default)]
struct Buffer {
    /// Text and the stream it goes to, in order.
    pieces: Vec<(u8, String)>,
    bytes: usize,
    left_out: usize,
    idle: bool,
    closed: bool,
    raw: bool,
    written: u64,
    accepted: u64,
}

struct Shared {
    buffer: Mutex<Buffer>,
    work: Condvar,
    done: Condvar,
}

/// Prints lines. Cheap to clone; the last lines are written when [`Printer::close`] is called.
#[derive(Clone)]
pub struct Printer {
    shared: Arc<Shared>,
    colors: bool,
}

impl Printer {
    /// A printer to standard output and standard error. Colours are for terminals, and not where `NO_COLOR` is set.
    pub fn new() -> Self {
        let colors = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let shared = Arc::new(Shared { buffer: Mutex::default(), work: Condvar::new(), done: Condvar::new() });
        let writer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("printer".to_owned())
            .spawn(move || write_batches(&writer))
            .expect("the machine has room for one more thread");
        Self { shared, colors }
    }

    /// Whether colours are wanted.
    pub fn colors(&self) -> bool {
        self.colors
    }

    /// A text in a colour (an SGR parameter of ECMA-48), if colours are wanted.
    pub fn paint(&self, color: &str, text: &str) -> String {
        if self.colors { format!("\u{1b}[{color}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Prints a line on standard output.
    pub fn line(&self, text: &str) {
        self.push(Stream::Output, text);
    }

    /// Prints a line on standard error.
    pub fn error_line(&self, text: &str) {
        self.push(Stream::Error, text);
    }

    /// Whether the terminal is in raw mode, where a line break does not return to the first column.
    pub fn set_raw(&self, raw: bool) {
        self.buffer().raw = raw;
    }

    /// Writes what is left and waits for it.
    pub fn close(&self) {
        let mut buffer = self.buffer();
        buffer.closed = true;
        self.shared.work.notify_one();
        let target = buffer.accepted;
        let _ = self
            .shared
            .done
            .wait_timeout_while(buffer, Duration::from_secs(1), |buffer| buffer.written < target)
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn buffer(&self) -> std::sync::MutexGuard<'_, Buffer> {
        self.shared.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, stream: Stream, text: &str) {
        let mut buffer = self.buffer();
        if buffer.bytes + text.len() > MOST_WAITING {
            buffer.left_out += 1;
            return;
        }
        buffer.bytes += text.len() + 1;
        buffer.accepted += 1;
        let stream = u8::from(stream == Stream::Error);
        match buffer.pieces.last_mut() {
            Some((last, piece)) if *last == stream => {
                piece.push_str(text);
                piece.push('\n');
            }
            _ => buffer.pieces.push((stream, format!("{text}\n"))),
        }
        if buffer.idle {
            buffer.idle = false;
            self.shared.work.notify_one();
        }
    }
}

impl Default for Printer {
    fn default() -> Self {
        Self::new()
    }
}

fn write_batches(shared: &Shared) {
    loop {
        let (pieces, left_out, raw, accepted, closed) = {
            let mut buffer = shared.buffer.lock().unwrap_or_else(PoisonError::into_inner);
            while buffer.pieces.is_empty() && !buffer.closed {
                buffer.idle = true;
                buffer = shared.work.wait(buffer).unwrap_or_else(PoisonError::into_inner);
            }
            buffer.idle = false;
            buffer.bytes = 0;
            let pieces = std::mem::take(&mut buffer.pieces);
            (pieces, std::mem::take(&mut buffer.left_out), buffer.raw, buffer.accepted, buffer.closed)
        };
        for (stream, text) in &pieces {
            write(*stream == 1, text, raw);
        }
        if left_out > 0 {
            write(true, &format!("… {left_out} lines were left out: the terminal is slower than the Worker\n"), raw);
        }
        let mut buffer = shared.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.written = accepted;
        shared.done.notify_all();
        if closed && buffer.pieces.is_empty() {
            return;
        }
        // Gather for a moment; who closes does not wait for it.
        drop(
            shared
                .work
                .wait_timeout_while(buffer, BATCH, |buffer| !buffer.closed)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Writes to a stream that may be gone: a closed pipe is no reason to stop serving.
fn write(error: bool, text: &str, raw: bool) {
    let text = if raw { text.replace('\n', "\r\n") } else { text.to_owned() };
    let _ = if error {
        let mut stream = io::stderr().lock();
        stream.write_all(text.as_bytes()).and_then(|()| stream.flush())
    } else {
        let mut stream = io::stdout().lock();
        stream.write_all(text.as_bytes()).and_then(|()| stream.flush())
    };
}
