//! Domains of the account, routes, and hosts that are a Worker's own.

use ::http::Method;
use serde_json::{Value, json as value};

use super::{Api, CustomDomain, Domain, Root, Route, Sent, Zone, json, segment};
use crate::error::{Error, Result};

impl Api {
    /// Domains whose control is proved.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn zones(&self) -> Result<Vec<Zone>> {
        self.list(Root::Cloudflare, "/zones").await
    }

    /// Every route of the account.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn routes(&self) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for zone in self.zones().await? {
            let path = format!("/zones/{}/workers/routes", segment(&zone.id));
            routes.extend(self.list::<Route>(Root::Cloudflare, &path).await?);
        }
        Ok(routes)
    }

    /// Adds a route to a Worker.
    ///
    /// # Errors
    /// When its host is in no proved domain of the account, another Worker has it, or it is no pattern.
    pub async fn add_route(&self, pattern: &str, worker: &str) -> Result<Route> {
        let zones = self.zones().await?;
        let host = host_of(pattern);
        let is_in = |zone: &&Zone| {
            let rest = host.strip_suffix(zone.name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.') || rest == "*")
        };
        let zone = zones.iter().filter(is_in).max_by_key(|zone| zone.name.len());
        let zone = zone.ok_or_else(|| {
            Error::invalid(format!(
                "{host} is in no proved domain of the account: add its domain with `skep domains add`, then prove it with `skep domains \
                 verify`"
            ))
        })?;
        let path = format!("/zones/{}/workers/routes", segment(&zone.id));
        let sent = json(value!({ "pattern": pattern, "script": worker }));
        self.send(Method::POST, Root::Cloudflare, &path, sent).await
    }

    /// Removes a route, by its pattern or id.
    ///
    /// # Errors
    /// When there is none.
    pub async fn remove_route(&self, wanted: &str) -> Result<Route> {
        let found = self.routes().await?.into_iter().find(|route| route.pattern == wanted || route.id == wanted);
        let route =
            found.ok_or_else(|| Error::invalid(format!("there is no route {wanted}: see `skep routes list`")))?;
        let path = format!("/zones/{}/workers/routes/{}", segment(&route.zone_id), segment(&route.id));
        self.send::<Value>(Method::DELETE, Root::Cloudflare, &path, Sent::Nothing).await?;
        Ok(route)
    }

    /// Replaces a Worker's routes.
    ///
    /// # Errors
    /// When one of them cannot be.
    pub async fn put_routes(&self, worker: &str, patterns: &[&str]) -> Result<()> {
        let sent: Vec<Value> = patterns.iter().map(|pattern| value!({ "pattern": pattern })).collect();
        let path = format!("/workers/scripts/{}/routes", segment(worker));
        self.send::<Value>(Method::PUT, Root::Account, &path, json(sent)).await.map(drop)
    }

    /// Replaces the hosts that are a Worker's own.
    ///
    /// # Errors
    /// When one of them cannot be, or is another Worker's.
    pub async fn put_custom_domains(&self, worker: &str, hosts: &[&str]) -> Result<()> {
        let origins: Vec<Value> = hosts.iter().map(|host| value!({ "hostname": host })).collect();
        let sent = json(value!({ "override_scope": true, "override_existing_origin": false, "origins": origins }));
        let path = format!("/workers/scripts/{}/domains/records", segment(worker));
        self.send::<Value>(Method::PUT, Root::Account, &path, sent).await.map(drop)
    }

    /// Hosts that are Workers' own.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn custom_domains(&self) -> Result<Vec<CustomDomain>> {
        self.get(Root::Account, "/workers/domains").await
    }

    /// The account's domains, proved or not.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn domains(&self) -> Result<Vec<Domain>> {
        self.get(Root::Own, "/domains").await
    }

    /// Adds a domain. `trusted` is for the owner of the machine, and needs no proof.
    ///
    /// # Errors
    /// When it is none, or another account's.
    pub async fn add_domain(&self, name: &str, trusted: bool) -> Result<Domain> {
        self.send(Method::POST, Root::Own, "/domains", json(value!({ "name": name, "trusted": trusted }))).await
    }

    /// Has the platform look for the proof of a domain.
    ///
    /// # Errors
    /// When there is none yet: the message says what was found.
    pub async fn verify_domain(&self, name: &str) -> Result<Domain> {
        let path = format!("/domains/{}/verify", segment(name));
        self.send(Method::POST, Root::Own, &path, Sent::Nothing).await
    }

    /// Removes a domain that no route uses.
    ///
    /// # Errors
    /// When there is none, or it is in use.
    pub async fn remove_domain(&self, name: &str) -> Result<()> {
        let path = format!("/domains/{}", segment(name));
        self.send::<Value>(Method::DELETE, Root::Own, &path, Sent::Nothing).await.map(drop)
    }
}

/// The host of a route's pattern.
fn host_of(pattern: &str) -> String {
    let after = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    after.split('/').next().unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn the_host_of_a_pattern() {
        for (pattern, host) in [
            ("example.com/*", "example.com"),
            ("https://Shop.example.com/a/*", "shop.example.com"),
            ("*.example.com", "*.example.com"),
            ("*example.com/*", "*example.com"),
        ] {
            assert_eq!(host_of(pattern), host);
        }
    }
}
