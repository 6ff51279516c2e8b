//! A project folder in, a Worker out.
#![forbid(unsafe_code)]
