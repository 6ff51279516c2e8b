//! The room against real protocols on loopback. Certificates are ordered from an authority that speaks ACME: first visits,
//! challenges, failures, renewals, restarts. Proofs are looked for in DNS and on a web server.

mod authority;
mod der;
mod dns;
mod failures;
mod issuing;
mod jws;
mod keeping;
mod pebble;
mod proofs;
mod site;
mod validation;
