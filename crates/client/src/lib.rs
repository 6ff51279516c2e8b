//! The platform's API as its commands use it.
//!
//! [`Platform`] is where the platform is and with which token (flags, environment variables, the file that `skep login` writes);
//! [`Api`] is a typed client; [`deploy`] leads from a built project to a Worker that answers; [`promotion`] moves traffic to a
//! version step by step; [`tail`] is the live log. Nothing here reads arguments or prints: commands do.

#![forbid(unsafe_code)]

pub mod api;
mod assets;
pub mod deploy;
pub mod env_file;
mod error;
mod form;
mod http;
mod login;
mod platform;
pub mod promotion;
mod provision;
pub mod tail;
pub mod times;
pub mod upload;

pub use api::Api;
pub use error::{Error, Result};
pub use login::{Login, LoginFile};
pub use platform::{Given, Platform, PlatformUrl, Source, Variables};
