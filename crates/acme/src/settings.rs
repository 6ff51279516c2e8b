//! How certificates are come by, and how much at once.

use std::path::PathBuf;
use std::time::Duration;

/// How control of a host is shown to the certificate authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A file over HTTP on port 80. RFC 8555, section 8.3.
    Http,
    /// A certificate in a TLS handshake of its own on port 443. RFC 8737.
    TlsAlpn,
}

/// How certificates are come by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The certificate authority's directory, such as `https://acme-v02.api.letsencrypt.org/directory`. Ordering from
    /// it agrees to its terms of service.
    pub directory_url: String,
    /// An e-mail address that the authority may write to.
    pub contact: Option<String>,
    /// The certificate, in PEM, that the directory's own certificate is signed by, for an authority inside of a company. The public
    /// ones are trusted without it, and not with it.
    pub root: Option<PathBuf>,
    /// Where the account's key and the certificates are kept. Each authority has a folder of its own in it.
    pub folder: PathBuf,
    /// What the host can answer, the best first. After a failure the next one is tried.
    pub challenges: Vec<Challenge>,
    /// How much at once.
    pub limits: Limits,
}

impl Settings {
    /// Certificates of a directory, kept in a folder, with every challenge and the usual limits.
    pub fn new(directory_url: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        Self {
            directory_url: directory_url.into(),
            contact: None,
            root: None,
            folder: folder.into(),
            challenges: vec![Challenge::TlsAlpn, Challenge::Http],
            limits: Limits::default(),
        }
    }
}

/// How much at once, how long, how often. The defaults stay below the limits of Let's Encrypt, which are the narrowest of the
/// public authorities. <https://letsencrypt.org/docs/rate-limits/>
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a handshake waits for a certificate that is being ordered. The order goes on without it.
    pub wait: Duration,
    /// How long an order may take in all.
    pub order: Duration,
    /// The first pause before an order is looked at again. Later ones are longer, unless the authority says when.
    pub poll: Duration,
    /// Orders at once.
    pub orders: usize,
    /// Hosts that wait for an order or have one. A handshake for one more is refused.
    pub queue: usize,
    /// Orders in [`Limits::window`].
    pub orders_in_window: usize,
    /// See [`Limits::orders_in_window`].
    pub window: Duration,
    /// Certificates in memory. Others are read from their file again.
    pub hosts: usize,
    /// The pause after the first failure. Each further one doubles it.
    pub first_pause: Duration,
    /// The longest pause.
    pub last_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            wait: Duration::from_secs(30),
            order: 5 * MINUTE,
            poll: Duration::from_millis(250),
            orders: 8,
            queue: 256,
            // Let's Encrypt: 300 for each account in 3 hours.
            orders_in_window: 250,
            window: 180 * MINUTE,
            hosts: 10_000,
            // Let's Encrypt: 5 failed authorizations of a host in an hour. These are at 0, 5, 15, 35 and 75 minutes.
            first_pause: 5 * MINUTE,
            last_pause: 24 * 60 * MINUTE,
        }
    }
}
