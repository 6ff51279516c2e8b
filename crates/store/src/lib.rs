//! What must last: accounts, API tokens, Workers, versions, deployments, routes, secrets, the audit log, and the files of
//! modules and assets.
//!
//! Records are rows of an SQLite database, files are named by the hash of their content ([`Files`]). Nothing outside of this
//! room knows SQL. A change is one transaction; its files are on disk before it begins, so that after a crash it is there
//! completely or not at all. Who serves requests does not ask the store: it is told of each change ([`Store::subscribe`])
//! in the order of the commits, before the change is acknowledged.
//!
//! A file stays as long as a row refers to it or somebody holds it ([`Hold`]); what nobody needs any more is removed now and then
//! ([`Store::remove_unused`]).

#![forbid(unsafe_code)]

mod accounts;
mod assets;
mod audit;
mod billing;
mod cron;
mod database;
mod domains;
mod error;
mod feed;
mod files;
mod hold;
mod load;
mod namespaces;
mod nodes;
mod promotions;
mod records;
mod rotation;
mod schedules;
mod seal;
mod sessions;
mod tokens;
mod unused;
mod uses;
mod versions;
mod warnings;
mod workers;

pub use accounts::{Account, Member};
pub use assets::AssetContent;
pub use audit::{Actor, AuditEntry};
pub use billing::{Agreement, FinalInvoice};
pub use cron::{Cron, CronError};
pub use database::Store;
pub use domains::{Domain, Route, Zone};
pub use error::{StoreError, StoreResult};
pub use feed::{Change, LiveWorker, Observability, Share};
pub use files::{FileHash, Files};
pub use hold::Hold;
pub use load::{LoadError, Opened};
pub use namespaces::{Namespace, NamespaceKind};
pub use nodes::Node;
pub use promotions::{NewPromotion, Progress, Promotion, PromotionState, RollbackOn, RunningPromotion};
pub use records::Timestamp;
pub use rotation::{Resealed, SealedUnder};
pub use schedules::Schedule;
pub use seal::{KeyError, MasterKeys};
pub use sessions::{Lifetime, Session};
pub use tokens::{NewToken, Permission, Token};
pub use unused::Removed;
pub use versions::{
    Annotations, AssetsRecord, BindingRecord, Content, Deployment, ModuleKind, NewDeployment, NewVersion, StoredModule,
    VersionRecord,
};
pub use warnings::UsageWarning;
pub use workers::{Committed, Upload, WorkerRecord, WorkerSettings};
