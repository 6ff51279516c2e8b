//! Workers, and the transactions that change what is live.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use crate::audit::{Actor, record};
use crate::database::Writer;
use crate::feed::{Change, LiveWorker, Observability, Share};
use crate::records::{Timestamp, from_json, json, now};
use crate::versions::{self, uuid};
use crate::{Annotations, Deployment, NewDeployment, NewVersion, Store, StoreError, StoreResult, VersionRecord};

/// What is set for a Worker and no single version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerSettings {
    /// Labels. Wrangler keeps the environment here.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Which logs are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability: Option<Value>,
    /// Whether logs are pushed.
    #[serde(default)]
    pub logpush: bool,
    /// The Workers that get this one's events.
    #[serde(default)]
    pub tail_consumers: Vec<Value>,
    /// The last migration of Durable Objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration_tag: Option<String>,
}

impl WorkerSettings {
    /// What they say of the Worker's events. A part that says nothing of its own is as the whole.
    fn observability(&self) -> Observability {
        let whole = self.observability.as_ref();
        let share = |part: Option<&Value>, enabled: bool| {
            let enabled = part.and_then(|part| part.get("enabled")?.as_bool()).unwrap_or(enabled);
            let rate = |of: &Value| of.get("head_sampling_rate")?.as_f64();
            let rate = part.and_then(rate).or_else(|| whole.and_then(rate)).unwrap_or(1.0);
            if enabled { rate.clamp(0.0, 1.0) as f32 } else { 0.0 }
        };
        let (logs, traces) = (whole.and_then(|whole| whole.get("logs")), whole.and_then(|whole| whole.get("traces")));
        let enabled = whole.and_then(|whole| whole.get("enabled")?.as_bool()).unwrap_or(false);
        let consumers = self.tail_consumers.iter().filter_map(|consumer| consumer.get("service")?.as_str());
        Observability {
            logs: share(logs, enabled),
            only_custom: logs.and_then(|logs| logs.get("invocation_logs")?.as_bool()) == Some(false),
            // Traces are asked for by themselves.
            traces: share(traces, false),
            consumers: consumers.map(str::to_owned).collect(),
        }
    }
}

/// A Worker, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRecord {
    /// Its id, the same as long as it exists.
    pub id: Uuid,
    /// Whose it is.
    pub account_id: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_on: Timestamp,
    /// When it was changed last.
    pub modified_on: Timestamp,
    /// Whether it answers at `<name>.<subdomain>.<domain>`.
    pub workers_dev: bool,
    /// Whether its versions answer at addresses of their own.
    pub previews: bool,
    /// What is set for it.
    pub settings: WorkerSettings,
    /// Its current deployment.
    pub live: Vec<Share>,
}

/// A version to be added to a Worker, which is made if there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// The Worker's name.
    pub worker: String,
    /// The version.
    pub version: NewVersion,
    /// What is said about its deployment, if it is deployed at once.
    pub deploy: Option<Annotations>,
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// The Worker.
    pub worker: WorkerRecord,
    /// The new version.
    pub version: VersionRecord,
    /// The deployment, if it was deployed at once.
    pub deployment: Option<Deployment>,
}

fn worker(row: &SqliteRow) -> StoreResult<WorkerRecord> {
    Ok(WorkerRecord {
        id: uuid(row, "id")?,
        account_id: row.try_get("account_id")?,
        name: row.try_get("name")?,
        created_on: row.try_get("created_on")?,
        modified_on: row.try_get("modified_on")?,
        workers_dev: row.try_get("workers_dev")?,
        previews: row.try_get("previews")?,
        settings: from_json(row, "settings")?,
        live: from_json(row, "live")?,
    })
}

async fn find(connection: &mut SqliteConnection, account: &str, name: &str) -> StoreResult<Option<WorkerRecord>> {
    let row = sqlx::query("SELECT * FROM workers WHERE account_id = $1 AND name = $2")
        .bind(account)
        .bind(name)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(worker).transpose()
}

pub(crate) async fn expect(connection: &mut SqliteConnection, account: &str, name: &str) -> StoreResult<WorkerRecord> {
    find(connection, account, name)
        .await?
        .ok_or_else(|| StoreError::NotFound(format!("This Worker does not exist on your account: {name}")))
}

impl Store {
    /// A Worker by its name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn worker(&self, account: &str, name: &str) -> StoreResult<Option<WorkerRecord>> {
        find(&mut *self.readers().acquire().await?, account, name).await
    }

    /// An account's Workers, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn workers(&self, account: &str, skip: u32, most: u32) -> StoreResult<Vec<WorkerRecord>> {
        let rows = sqlx::query("SELECT * FROM workers WHERE account_id = $1 ORDER BY name LIMIT $2 OFFSET $3")
            .bind(account)
            .bind(most)
            .bind(skip)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(worker).collect()
    }

    /// Adds a version, makes its Worker if there is none, and deploys it if `deploy` says how. All or nothing.
    ///
    /// # Errors
    /// [`StoreError::Inherit`] when it wants a binding that the version before does not have, [`StoreError::Corrupt`] when one of its
    /// files is not there, [`StoreError::Conflict`] when nobody keeps its static assets.
    pub async fn commit_version(
        &self,
        actor: &Actor,
        name: &str,
        new: NewVersion,
        deploy: Option<Annotations>,
    ) -> StoreResult<Committed> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let upload = Upload { worker: name.to_owned(), version: new, deploy };
        let (version, deployment) = self.insert_upload(&mut transaction, actor, upload).await?;
        transaction.commit().await?;
        let worker = self.tell_of(&mut writer, &actor.account_id, name).await?;
        Ok(Committed { worker, version, deployment })
    }

    /// The same for many at once, as an import has them. All or nothing.
    ///
    /// # Errors
    /// As [`Store::commit_version`].
    pub async fn commit_versions(&self, actor: &Actor, uploads: Vec<Upload>) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let mut changes = Vec::with_capacity(uploads.len());
        for upload in uploads {
            let name = upload.worker.clone();
            self.insert_upload(&mut transaction, actor, upload).await?;
            let worker = expect(&mut transaction, &actor.account_id, &name).await?;
            changes.push(Change::Worker(Box::new(live_worker(&mut transaction, &worker).await?)));
        }
        transaction.commit().await?;
        self.tell(&writer, &changes);
        Ok(())
    }

    async fn insert_upload(
        &self,
        transaction: &mut SqliteConnection,
        actor: &Actor,
        upload: Upload,
    ) -> StoreResult<(VersionRecord, Option<Deployment>)> {
        let Upload { worker: name, version, deploy } = upload;
        let found = find(transaction, &actor.account_id, &name).await?;
        let is_new = found.is_none();
        let worker = match found {
            Some(worker) => worker,
            None => insert_worker(transaction, actor, &name).await?,
        };
        let before = if is_new { None } else { versions::latest(transaction, worker.id).await? };
        let version = self.insert_version(transaction, actor, &worker, before.as_ref(), version).await?;
        let detail = json!({ "version": version.id, "number": version.number, "new": is_new, "source": actor.source });
        record(transaction, actor, "version.upload", &name, &detail).await?;
        let deployment = match deploy {
            Some(annotations) => {
                let versions = vec![Share { version_id: version.id, percentage: 100.0 }];
                let new = NewDeployment { versions, annotations };
                Some(insert_deployment(transaction, actor, &worker, new).await?)
            }
            None => None,
        };
        Ok((version, deployment))
    }

    /// The bindings that a version would have if it were committed now.
    ///
    /// # Errors
    /// [`StoreError::Inherit`] when it wants a binding that the version before does not have.
    pub async fn preview_bindings(
        &self,
        worker: Option<&WorkerRecord>,
        new: &NewVersion,
    ) -> StoreResult<(Uuid, Vec<crate::BindingRecord>)> {
        let before = match worker {
            Some(worker) => self.latest_version(worker.id).await?,
            None => None,
        };
        let id = worker.map_or_else(Uuid::new_v4, |worker| worker.id);
        Ok((id, self.resolve_bindings(id, new, before.as_ref())?))
    }

    /// Makes a version that differs from the newest one in its secrets: a text puts one, nothing removes it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such Worker or it has no version.
    pub async fn put_secrets(
        &self,
        actor: &Actor,
        name: &str,
        secrets: Vec<(String, Option<skep_worker::Secret>)>,
        annotations: Annotations,
        deploy: bool,
    ) -> StoreResult<Committed> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let worker = expect(&mut transaction, &actor.account_id, name).await?;
        let before = versions::latest(&mut transaction, worker.id)
            .await?
            .ok_or_else(|| StoreError::NotFound(format!("{name} has no version yet: deploy it first")))?;
        let mut bindings = before.bindings.clone();
        for (key, text) in &secrets {
            bindings.retain(|binding| binding.name != *key);
            if let Some(text) = text {
                bindings.push(crate::BindingRecord::secret(key, text.reveal()));
            }
        }
        let new = NewVersion {
            content: before.content.clone(),
            bindings,
            keep_bindings: Vec::new(),
            annotations: annotations.clone(),
        };
        let version = self.insert_version(&mut transaction, actor, &worker, Some(&before), new).await?;
        let names: Vec<&str> = secrets.iter().map(|(key, _)| key.as_str()).collect();
        record(&mut transaction, actor, "secret.change", name, &json!({ "secrets": names, "version": version.id }))
            .await?;
        let deployment = if deploy {
            let versions = vec![Share { version_id: version.id, percentage: 100.0 }];
            Some(insert_deployment(&mut transaction, actor, &worker, NewDeployment { versions, annotations }).await?)
        } else {
            None
        };
        transaction.commit().await?;
        let worker = self.tell_of(&mut writer, &actor.account_id, name).await?;
        Ok(Committed { worker, version, deployment })
    }

    /// Gives versions their share of the traffic.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a version that the Worker does not have, [`StoreError::Invalid`] for shares that do not add up
    /// to 100 %.
    pub async fn deploy(&self, actor: &Actor, name: &str, new: NewDeployment) -> StoreResult<Deployment> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let worker = expect(&mut transaction, &actor.account_id, name).await?;
        check_shares(&new.versions)?;
        for share in &new.versions {
            if versions::find(&mut *transaction, worker.id, share.version_id).await?.is_none() {
                let message = format!("{name} has no version {}: see `skep versions list`", share.version_id);
                return Err(StoreError::NotFound(message));
            }
        }
        let deployment = insert_deployment(&mut transaction, actor, &worker, new).await?;
        transaction.commit().await?;
        self.tell_of(&mut writer, &actor.account_id, name).await?;
        Ok(deployment)
    }

    /// Changes what is set for a Worker.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such Worker.
    pub async fn update_worker(
        &self,
        actor: &Actor,
        name: &str,
        change: impl FnOnce(&mut WorkerRecord) + Send,
    ) -> StoreResult<WorkerRecord> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let mut worker = expect(&mut transaction, &actor.account_id, name).await?;
        change(&mut worker);
        sqlx::query(
            "UPDATE workers SET workers_dev = $1, previews = $2, settings = $3, modified_on = $4 WHERE id = $5",
        )
        .bind(worker.workers_dev)
        .bind(worker.previews)
        .bind(json(&worker.settings)?)
        .bind(now())
        .bind(worker.id.to_string())
        .execute(&mut *transaction)
        .await?;
        let detail =
            json!({ "workers_dev": worker.workers_dev, "previews": worker.previews, "settings": worker.settings });
        record(&mut transaction, actor, "worker.settings", name, &detail).await?;
        transaction.commit().await?;
        self.tell_of(&mut writer, &actor.account_id, name).await
    }

    /// Deletes a Worker with its versions, routes, domains, schedules and secrets.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such Worker.
    pub async fn delete_worker(&self, actor: &Actor, name: &str) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let worker = expect(&mut transaction, &actor.account_id, name).await?;
        sqlx::query("DELETE FROM workers WHERE id = $1").bind(worker.id.to_string()).execute(&mut *transaction).await?;
        record(&mut transaction, actor, "worker.delete", name, &json!({})).await?;
        transaction.commit().await?;
        self.tell(&writer, &[Change::Deleted { id: worker.id }]);
        Ok(())
    }

    async fn insert_version(
        &self,
        transaction: &mut SqliteConnection,
        actor: &Actor,
        worker: &WorkerRecord,
        before: Option<&VersionRecord>,
        new: NewVersion,
    ) -> StoreResult<VersionRecord> {
        let bindings = self.resolve_bindings(worker.id, &new, before)?;
        let row = sqlx::query(
            "UPDATE workers SET versions = versions + 1, modified_on = $1 WHERE id = $2 RETURNING versions",
        )
        .bind(now())
        .bind(worker.id.to_string())
        .fetch_one(&mut *transaction)
        .await?;
        let version = VersionRecord {
            id: Uuid::new_v4(),
            worker_id: worker.id,
            number: row.try_get("versions")?,
            created_on: now(),
            author: actor.name.clone(),
            source: actor.source.clone(),
            annotations: new.annotations,
            content: new.content,
            bindings,
        };
        sqlx::query("INSERT INTO versions (id, worker_id, number, created_on, author, source, annotations, content, bindings) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(version.id.to_string())
            .bind(worker.id.to_string())
            .bind(version.number)
            .bind(version.created_on)
            .bind(&version.author)
            .bind(&version.source)
            .bind(json(&version.annotations)?)
            .bind(json(&version.content)?)
            .bind(json(&version.bindings)?)
            .execute(&mut *transaction)
            .await?;
        self.note_files_of(transaction, &worker.account_id, &version).await?;
        Ok(version)
    }

    /// Tells the listeners how a Worker is now.
    pub(crate) async fn tell_of(
        &self,
        writer: &mut Writer<'_>,
        account: &str,
        name: &str,
    ) -> StoreResult<WorkerRecord> {
        let worker = expect(writer, account, name).await?;
        let live = live_worker(writer, &worker).await?;
        self.tell(writer, &[Change::Worker(Box::new(live))]);
        Ok(worker)
    }

    pub(crate) async fn tell_all_workers(&self, writer: &mut Writer<'_>, account: &str) -> StoreResult<()> {
        let rows =
            sqlx::query("SELECT * FROM workers WHERE account_id = $1").bind(account).fetch_all(&mut **writer).await?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            changes.push(Change::Worker(Box::new(live_worker(writer, &worker(row)?).await?)));
        }
        self.tell(writer, &changes);
        Ok(())
    }

    /// Reads every Worker, a page at a time.
    pub(crate) async fn live_workers(
        &self,
        writer: &mut Writer<'_>,
        mut tell: impl FnMut(&[Change]),
    ) -> StoreResult<()> {
        const PAGE: u32 = 1000;
        let (mut from, mut more) = (String::new(), true);
        while more {
            // One statement for many Workers: most have neither routes nor domains nor schedules.
            let rows = sqlx::query(
                "SELECT workers.*, accounts.subdomain, \
                 EXISTS (SELECT 1 FROM routes WHERE worker_id = workers.id) \
                 OR EXISTS (SELECT 1 FROM domains WHERE worker_id = workers.id) \
                 OR EXISTS (SELECT 1 FROM schedules WHERE worker_id = workers.id) AS more \
                 FROM workers JOIN accounts ON accounts.id = workers.account_id \
                 WHERE workers.id > $1 ORDER BY workers.id LIMIT $2",
            )
            .bind(&from)
            .bind(PAGE)
            .fetch_all(&mut **writer)
            .await?;
            more = rows.len() == PAGE as usize;
            let mut changes = Vec::with_capacity(rows.len());
            for row in &rows {
                let worker = worker(row)?;
                from = worker.id.to_string();
                let subdomain = row.try_get("subdomain")?;
                let mut live = bare(&worker, subdomain);
                if row.try_get("more")? {
                    fill(writer, &mut live).await?;
                }
                changes.push(Change::Worker(Box::new(live)));
            }
            tell(&changes);
        }
        Ok(())
    }
}

fn bare(worker: &WorkerRecord, subdomain: String) -> LiveWorker {
    LiveWorker {
        account_id: worker.account_id.clone(),
        subdomain,
        id: worker.id,
        name: worker.name.clone(),
        workers_dev: worker.workers_dev,
        previews: worker.previews,
        deployment: worker.live.clone(),
        routes: Vec::new(),
        domains: Vec::new(),
        crons: Vec::new(),
        observability: worker.settings.observability(),
    }
}

async fn live_worker(connection: &mut SqliteConnection, worker: &WorkerRecord) -> StoreResult<LiveWorker> {
    let row = sqlx::query("SELECT subdomain FROM accounts WHERE id = $1")
        .bind(&worker.account_id)
        .fetch_one(&mut *connection)
        .await?;
    let mut live = bare(worker, row.try_get("subdomain")?);
    fill(connection, &mut live).await?;
    Ok(live)
}

async fn fill(connection: &mut SqliteConnection, live: &mut LiveWorker) -> StoreResult<()> {
    let id = live.id.to_string();
    let texts = |rows: Vec<SqliteRow>| rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>();
    let read = sqlx::query("SELECT pattern FROM routes WHERE worker_id = $1 ORDER BY pattern").bind(&id);
    live.routes = texts(read.fetch_all(&mut *connection).await?)?;
    let read = sqlx::query("SELECT hostname FROM domains WHERE worker_id = $1 ORDER BY hostname").bind(&id);
    live.domains = texts(read.fetch_all(&mut *connection).await?)?;
    let read = sqlx::query("SELECT cron FROM schedules WHERE worker_id = $1 ORDER BY cron").bind(&id);
    live.crons = texts(read.fetch_all(&mut *connection).await?)?;
    Ok(())
}

async fn insert_worker(transaction: &mut SqliteConnection, actor: &Actor, name: &str) -> StoreResult<WorkerRecord> {
    let time = now();
    let worker = WorkerRecord {
        id: Uuid::new_v4(),
        account_id: actor.account_id.clone(),
        name: name.to_owned(),
        created_on: time,
        modified_on: time,
        workers_dev: true,
        previews: true,
        settings: WorkerSettings::default(),
        live: Vec::new(),
    };
    sqlx::query("INSERT INTO workers (id, account_id, name, created_on, modified_on, workers_dev, previews, settings, live, versions) VALUES ($1, $2, $3, $4, $4, $5, $6, $7, '[]', 0)")
        .bind(worker.id.to_string())
        .bind(&worker.account_id)
        .bind(name)
        .bind(time)
        .bind(worker.workers_dev)
        .bind(worker.previews)
        .bind(json(&worker.settings)?)
        .execute(transaction)
        .await?;
    Ok(worker)
}

pub(crate) async fn insert_deployment(
    transaction: &mut SqliteConnection,
    actor: &Actor,
    worker: &WorkerRecord,
    new: NewDeployment,
) -> StoreResult<Deployment> {
    let id = worker.id.to_string();
    let row = sqlx::query("SELECT COALESCE(MAX(number), 0) + 1 AS next FROM deployments WHERE worker_id = $1")
        .bind(&id)
        .fetch_one(&mut *transaction)
        .await?;
    let deployment = Deployment {
        id: Uuid::new_v4(),
        number: row.try_get("next")?,
        created_on: now(),
        author: actor.name.clone(),
        source: actor.source.clone(),
        annotations: new.annotations,
        versions: new.versions,
    };
    let versions = json(&deployment.versions)?;
    sqlx::query("INSERT INTO deployments (id, worker_id, number, created_on, author, source, annotations, versions) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(deployment.id.to_string())
        .bind(&id)
        .bind(deployment.number)
        .bind(deployment.created_on)
        .bind(&deployment.author)
        .bind(&deployment.source)
        .bind(json(&deployment.annotations)?)
        .bind(&versions)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("UPDATE workers SET live = $1, modified_on = $2 WHERE id = $3")
        .bind(&versions)
        .bind(now())
        .bind(&id)
        .execute(&mut *transaction)
        .await?;
    let detail =
        json!({ "deployment": deployment.id, "versions": deployment.versions, "annotations": deployment.annotations });
    record(transaction, actor, "worker.deploy", &worker.name, &detail).await?;
    Ok(deployment)
}

/// The most versions that may share the traffic. Cloudflare allows two.
const MOST_SHARES: usize = 2;

fn check_shares(shares: &[Share]) -> StoreResult<()> {
    let total: f64 = shares.iter().map(|share| share.percentage).sum();
    let distinct = shares.iter().enumerate().all(|(index, share)| {
        (0.0..=100.0).contains(&share.percentage)
            && shares[..index].iter().all(|other| other.version_id != share.version_id)
    });
    if shares.is_empty() || shares.len() > MOST_SHARES || !distinct || (total - 100.0).abs() > 0.005 {
        return Err(StoreError::Invalid(format!(
            "a deployment is one version with 100 %, or two different ones whose percentages add up to 100: these are {} with {total} % together",
            shares.len()
        )));
    }
    Ok(())
}
