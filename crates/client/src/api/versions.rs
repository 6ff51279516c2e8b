//! Versions and deployments.

use ::http::Method;
use serde::Deserialize;
use serde_json::{Value, json as value};

use super::{Annotations, Api, Deployment, Root, Sent, Share, Version, json, segment};
use crate::error::{Error, Result};
use crate::form::Form;

#[derive(Deserialize)]
struct Items {
    items: Vec<Version>,
}

#[derive(Deserialize)]
struct Deployments {
    deployments: Vec<Deployment>,
}

impl Api {
    /// A Worker's versions, newest first, as far back as one can roll back.
    ///
    /// # Errors
    /// When there is no such Worker.
    pub async fn versions(&self, worker: &str) -> Result<Vec<Version>> {
        let path = format!("/workers/scripts/{}/versions?deployable=true", segment(worker));
        Ok(self.get::<Items>(Root::Account, &path).await?.items)
    }

    /// A version, by its id; `latest` is the newest one.
    ///
    /// # Errors
    /// When there is none.
    pub async fn version(&self, worker: &str, id: &str) -> Result<Version> {
        self.get(Root::Account, &format!("/workers/scripts/{}/versions/{}", segment(worker), segment(id))).await
    }

    /// The version that a person means: by its whole id, its number, its tag, or the first digits of its id.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn find_version(&self, worker: &str, wanted: &str) -> Result<Version> {
        if wanted.len() == 36 || wanted == "latest" {
            return self.version(worker, wanted).await;
        }
        choose(self.versions(worker).await?, worker, wanted)
    }

    /// Uploads a version and deploys none.
    ///
    /// # Errors
    /// When it cannot be run: the message is its own error.
    pub async fn upload_version(&self, worker: &str, form: Form) -> Result<Version> {
        let path = format!("/workers/scripts/{}/versions?bindings_inherit=strict", segment(worker));
        self.send(Method::POST, Root::Account, &path, Sent::Form(form)).await
    }

    /// A Worker's deployments, newest first.
    ///
    /// # Errors
    /// When there is no such Worker.
    pub async fn deployments(&self, worker: &str) -> Result<Vec<Deployment>> {
        let path = format!("/workers/scripts/{}/deployments", segment(worker));
        Ok(self.get::<Deployments>(Root::Account, &path).await?.deployments)
    }

    /// Gives versions their share of the traffic, at once.
    ///
    /// # Errors
    /// When a version does not exist, or the shares do not add up to 100 %.
    pub async fn deploy_versions(
        &self,
        worker: &str,
        versions: &[Share],
        annotations: &Annotations,
    ) -> Result<Deployment> {
        let sent = value!({ "strategy": "percentage", "versions": versions, "annotations": annotations });
        let path = format!("/workers/scripts/{}/deployments", segment(worker));
        self.send(Method::POST, Root::Account, &path, json(sent)).await
    }

    /// What is set for a Worker, with its newest version's bindings.
    pub(crate) async fn settings(&self, worker: &str) -> Result<Value> {
        self.get(Root::Account, &format!("/workers/scripts/{}/settings", segment(worker))).await
    }
}

fn choose(versions: Vec<Version>, worker: &str, wanted: &str) -> Result<Version> {
    // Digits that begin an id may look like a number; a number has fewer of them.
    let number = wanted.strip_prefix('v').unwrap_or(wanted).parse::<i64>().ok().filter(|_| wanted.len() < 8);
    let tagged = versions.iter().position(|version| version.annotations.tag.as_deref() == Some(wanted));
    let found = match tagged.or_else(|| versions.iter().position(|version| Some(version.number) == number)) {
        Some(index) => vec![index],
        None if wanted.len() < 4 => Vec::new(),
        None => {
            let begins = |(index, version): (usize, &Version)| version.id.starts_with(wanted).then_some(index);
            versions.iter().enumerate().filter_map(begins).collect()
        }
    };
    match found.as_slice() {
        [index] => Ok(versions.into_iter().nth(*index).unwrap_or_else(|| unreachable!("it was found"))),
        [] => Err(Error::invalid(format!(
            "{worker} has no version \"{wanted}\": see `skep versions list --name {worker}`"
        ))),
        several => Err(Error::invalid(format!(
            "\"{wanted}\" begins the ids of {} versions of {worker}: write more digits",
            several.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, number: i64, tag: Option<&str>) -> Version {
        serde_json::from_value(value!({
            "id": id, "number": number, "metadata": { "created_on": "2026-11-22T10:00:00Z" },
            "annotations": tag.map_or(value!({}), |tag| value!({ "workers/tag": tag })),
        }))
        .unwrap()
    }

    #[test]
    fn a_version_is_found_by_what_people_write() {
        let versions =
            || vec![version("1234abcd-x", 3, Some("v2.0")), version("1234ffff-x", 2, None), version("99", 1, None)];
        let check =
            |wanted: &str| choose(versions(), "w", wanted).map(|version| version.number).map_err(|e| e.to_string());
        assert_eq!(check("3"), Ok(3));
        assert_eq!(check("v2"), Ok(2));
        assert_eq!(check("v2.0"), Ok(3));
        assert_eq!(check("1234a"), Ok(3));
        assert!(check("1234").unwrap_err().contains("2 versions"));
        assert!(check("12").unwrap_err().contains("no version"));
        assert!(check("4").unwrap_err().contains("skep versions list --name w"));
    }
}
