//! What a running command prints, as one text in its order.

use std::io::Read;

use tokio::sync::watch;

use super::PATIENCE;

/// The output of a command, read from the beginning to as far as a test has got.
pub(crate) struct Output {
    text: watch::Receiver<String>,
    read: usize,
}

impl Output {
    /// Reads a command's output in the background.
    pub(crate) fn of(mut source: impl Read + Send + 'static) -> Self {
        let (sender, text) = watch::channel(String::new());
        std::thread::spawn(move || {
            let mut rest = Vec::new();
            let mut buffer = [0; 4096];
            // A terminal that nobody writes to any more ends with an error.
            while let Ok(length @ 1..) = source.read(&mut buffer) {
                rest.extend_from_slice(&buffer[..length]);
                let whole = rest.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
                let new: Vec<u8> = rest.drain(..whole).collect();
                sender.send_modify(|text| text.push_str(&String::from_utf8_lossy(&new)));
            }
        });
        Self { text, read: 0 }
    }

    /// Waits until a text is printed, after what was waited for before. Gives what came between.
    ///
    /// # Panics
    /// When it does not come.
    pub(crate) async fn until(&mut self, wanted: &str) -> String {
        let read = self.read;
        let mut found = None;
        let wait = self.text.wait_for(|text| {
            found = text[read..].find(wanted);
            found.is_some()
        });
        let ended = match tokio::time::timeout(PATIENCE, wait).await {
            Ok(Ok(_)) => None,
            Ok(Err(_)) => Some("the command ended"),
            Err(_) => Some("the time is over"),
        };
        let text = self.text.borrow();
        match (found, ended) {
            (Some(at), None) => {
                self.read = read + at + wanted.len();
                text[read..read + at].to_owned()
            }
            (_, ended) => panic!("{}; {wanted:?} is not in:\n{}", ended.unwrap_or_default(), &text[read..]),
        }
    }

    /// Waits for the rest of the line.
    pub(crate) async fn line(&mut self) -> String {
        self.until("\n").await
    }

    /// Waits until everything up to now is as wanted, or the command ends.
    pub(crate) async fn when(&self, mut wanted: impl FnMut(&str) -> bool) {
        let mut text = self.text.clone();
        let _ = text.wait_for(|text| wanted(text)).await;
    }

    /// Everything up to now.
    pub(crate) fn all(&self) -> String {
        self.text.borrow().clone()
    }
}
