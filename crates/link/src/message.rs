//! The messages of a [`Channel`](crate::Channel).

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a runtime is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The data directory, whose files it reads.
    pub data_dir: PathBuf,
    /// The domain below which Workers answer.
    pub domain: String,
    /// The port in addresses, where it is not the scheme's own.
    pub port: Option<u16>,
    /// Whether addresses begin with `https`.
    pub secure: bool,
    /// Threads that serve requests.
    pub threads: usize,
    /// Whether Workers may fetch from this machine's own addresses.
    pub allow_loopback: bool,
    /// Isolates of one version, at most.
    pub per_worker: usize,
    /// Isolates of one account, at most.
    pub per_account: usize,
    /// Memory for all isolates together, in bytes.
    pub memory: u64,
    /// How long isolates stay of which nobody knows when they will be asked for again, in milliseconds.
    pub keep_alive: u64,
    /// Spare isolates.
    pub spares: usize,
    /// Events of a Worker of which more than counts is gathered in a second, at most.
    pub events_per_second: u32,
    /// Whether somebody wants traces.
    pub traces: bool,
    /// Whether it is to give up what it does not need.
    pub sandbox: bool,
}

/// What a connection between the two processes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Requests of clients.
    Requests,
    /// What one process wants of the other.
    Calls,
}

/// From the supervisor to a runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToRuntime {
    /// The first message. Its descriptor is the [`Table`](crate::Table).
    Setup(Setup),
    /// A client's connection, which nothing was read from. Its descriptor is the connection.
    Client {
        /// Its place in the table.
        number: u32,
        /// Where the client is.
        address: SocketAddr,
    },
    /// A connection from the supervisor. Its descriptor is one end.
    From(Kind),
    /// A connection that was asked for. Its descriptor is one end.
    Opened {
        /// Which one.
        id: u64,
    },
    /// Finish what is being handled, and end.
    Stop {
        /// For so long at most, in milliseconds.
        grace: u64,
    },
}

/// From a runtime to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToSupervisor {
    /// It can be asked, and given connections.
    Ready {
        /// What it has given up.
        sandbox: String,
    },
    /// It wants a connection.
    Open {
        /// Its number for it.
        id: u64,
        /// What for.
        kind: Kind,
    },
    /// Clients' connections that are over, by their places in the table.
    Closed(Vec<u32>),
}
