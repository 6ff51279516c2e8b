//! What passes between the supervisor, which holds the sockets and what must last, and the processes that run Workers.
//!
//! A [`Channel`] carries messages, and with them connections: a client's, or one end of a pair that the two processes speak HTTP
//! over ([`Peer`]). A [`Table`] is memory that both see: in it a process says what each connection is doing and which versions'
//! code runs, so that the supervisor knows both when the process is dead. What the process had no time to say, the kernel knows ([`written`]).

#![deny(unsafe_code)]

mod channel;
mod message;
mod peer;
mod progress;
mod table;
pub mod wire;

pub use channel::Channel;
pub use message::{Kind, Setup, ToRuntime, ToSupervisor};
pub use peer::{CallError, ForVersion, Opening, Peer, answer};
pub use progress::written;
pub use table::{Row, State, Table};

/// Client connections that one process may have.
pub const CONNECTIONS: usize = 65_536;
