//! The endpoints, by what they are about.

mod addresses;
mod analytics;
mod assets;
mod billing;
mod crons;
mod deliveries;
mod deployments;
mod domains;
mod logs;
mod master_key;
mod namespaces;
mod own;
mod promotions;
mod schedules;
mod scripts;
mod secrets;
mod services;
mod session;
mod settings;
mod shapes;
mod status;
mod tails;
mod usage;
mod user;
mod versions;

use crate::endpoint::Endpoint;

/// Every endpoint there is.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    [
        user::endpoints(),
        session::endpoints(),
        scripts::endpoints(),
        versions::endpoints(),
        deployments::endpoints(),
        secrets::endpoints(),
        settings::endpoints(),
        services::endpoints(),
        addresses::endpoints(),
        assets::endpoints(),
        schedules::endpoints(),
        namespaces::endpoints(),
        tails::endpoints(),
        promotions::endpoints(),
        own::endpoints(),
        master_key::endpoints(),
        crons::endpoints(),
        domains::endpoints(),
        logs::endpoints(),
        usage::endpoints(),
        analytics::endpoints(),
        status::endpoints(),
        deliveries::endpoints(),
        billing::endpoints(),
    ]
    .concat()
}
