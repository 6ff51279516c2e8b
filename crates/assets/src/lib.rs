//! A Worker's static assets: which file, redirect or Worker answers a request, and what a folder of files becomes when it is
//! uploaded. Behaves as <https://developers.cloudflare.com/workers/static-assets/> says; no sockets, no isolates, no
//! database.
//!
//! A version's assets are a [`Manifest`] (which files there are) and a [`Config`] (settings, `_headers`, `_redirects`). Together they
//! make a [`Site`], which is immutable. A [`Server`] answers from a [`Contents`], keeping hot contents in memory; a
//! process has one for all sites, as contents are known by their hash.
//!
//! ```
//! use std::sync::Arc;
//!
//! use http::Request;
//! use skep_assets::manifest::{AssetHash, File, ManifestBuilder, Variants};
//! use skep_assets::{Answer, Config, Encoding, MemoryContents, Script, Server, Site};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! // what was uploaded
//! let page = "<h1>Hello</h1>";
//! let hash = AssetHash::of(page.as_bytes(), "html");
//! let mut contents = MemoryContents::default();
//! contents.add(hash, Encoding::Identity, page);
//! let mut manifest = ManifestBuilder::default();
//! let content_type = Some("text/html; charset=utf-8".to_owned());
//! manifest.add("/hello.html", &File { hash, size: page.len() as u64, content_type, variants: Variants::default() })?;
//!
//! // one for each version, one for all
//! let (site, problems) = Site::new(manifest.build()?, &Config::default(), Script::None);
//! assert!(problems.headers.is_empty() && problems.redirects.is_empty());
//! let server = Server::new(Arc::new(contents), 64 * 1024 * 1024);
//!
//! let request = Request::get("https://example.com/hello").body(())?;
//! let response = match server.answer(&site, &request) {
//!     Answer::Response(response) => response,
//!     Answer::Pending(pending) => pending.response().await?,
//!     Answer::Worker(_) => unreachable!("there is no Worker beside these assets"),
//! };
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.headers()["etag"], format!("\"{hash}\""));
//!
//! // now it is in memory
//! assert!(server.respond_now(&site, &request).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Server::fetch`] is `env.ASSETS.fetch()`. [`upload::Folder`] reads a folder, for an upload and for the development server, and
//! [`compress::variants`] makes what is stored beside a file. [`HeaderRules::parse`] and [`RedirectRules::parse`] take any text:
//! they are what a fuzzer calls.
//!
//! The cache is `quick_cache`: look-ups are synchronous and take a read lock for some ten nanoseconds, entries weigh their bytes, a
//! walk through a large site does not push out what is hot, and of many requests for a cold content one reads it. `moka` has
//! all that too, with maintenance work in each look-up that a file of a few bytes would pay dearly for.

#![forbid(unsafe_code)]

pub mod compress;
mod conditional;
pub mod config;
mod contents;
mod encoding;
mod hash;
pub mod headers;
mod lookup;
pub mod manifest;
mod path;
mod pattern;
mod problem;
pub mod redirects;
mod server;
mod site;
pub mod upload;

pub use config::Config;
pub use contents::{Contents, FileContents, MemoryContents, Reading};
pub use encoding::Encoding;
pub use headers::HeaderRules;
pub use manifest::{AssetHash, Manifest};
pub use problem::{Problem, ProblemKind};
pub use redirects::RedirectRules;
pub use server::{Answer, Pending, Server};
pub use site::{Script, Site, SiteProblems, WorkerReason};
