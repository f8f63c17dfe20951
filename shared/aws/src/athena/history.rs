//! Which days of the lake lie as Parquet too, and whether they may be read instead of their objects.
//!
//! Invariant: the objects are the record. A day's Parquet is read only while both its objects and its own files are those that
//! were compared with each other: whatever is added to the day, or taken from it, is read from the objects again.

use std::collections::HashSet;
use std::ops::Range;

use aws_sdk_s3::Client as S3;
use aws_sdk_s3::types::Object;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortError, PortResult};
use futures_util::future::try_join_all;
use futures_util::try_join;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::sql;
use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure;
use crate::patience::Patience;
use crate::signed::{Operation, Signed};

macro_rules! glue {
    ($operation:literal) => {
        Operation {
            target: concat!("AWSGlue.", $operation),
            content: "application/x-amz-json-1.1",
        }
    };
}
const GET_TABLE: Operation = glue!("GetTable");
const GET_PARTITIONS: Operation = glue!("GetPartitions");
const CREATE_PARTITION: Operation = glue!("CreatePartition");
const UPDATE_PARTITION: Operation = glue!("BatchUpdatePartition");
const DELETE_PARTITION: Operation = glue!("DeletePartition");

/// Parameters of a partition: what was compared, as hashes of listings. A partition without them was not compared yet.
const OF_OBJECTS: &str = "clickledger.objects";
const OF_FILES: &str = "clickledger.files";

/// The table `clicks_history`.
pub(super) struct History {
    pub(super) s3: S3,
    pub(super) bucket: String,
    glue: Signed,
    database: String,
    patience: Patience,
}

/// A day of it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Partition {
    values: Vec<String>,
    #[serde(default)]
    parameters: Value,
    storage_descriptor: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Partitions {
    partitions: Vec<Partition>,
    next_token: Option<String>,
}

impl Partition {
    fn day(&self) -> &str {
        self.values.first().map_or("", String::as_str)
    }

    fn location(&self) -> &str {
        self.storage_descriptor["Location"].as_str().unwrap_or_default()
    }
}

/// What lies under a prefix.
pub(super) struct Listing(Vec<Object>);

impl Listing {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of the names, sizes and contents: another listing has another.
    pub(super) fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for object in &self.0 {
            let (key, size) = (
                object.key().unwrap_or_default(),
                object.size().unwrap_or_default(),
            );
            let tag = object.e_tag().unwrap_or_default();
            hash.update(format!("{key}\t{size}\t{tag}\n"));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Objects that were written before this time, Unix seconds.
    pub(super) fn before(&self, at_s: i64) -> impl Iterator<Item = &str> {
        let old = move |object: &&Object| object.last_modified().is_some_and(|at| at.secs() < at_s);
        self.0.iter().filter(old).filter_map(|object| object.key())
    }
}

/// The prefix of a day's objects, and of all that was ever made of them.
pub(super) fn objects_of(day: &str) -> String {
    format!("lake/dt={day}/")
}
pub(super) fn files_of(day: &str) -> String {
    format!("history/dt={day}/")
}

impl Aws {
    pub(super) async fn history(&self, patience: Patience) -> Result<History, ConfigError> {
        Ok(History {
            s3: self.s3(),
            bucket: self.name(Resource::Bucket)?,
            glue: self.signed("glue").await?,
            database: self.name(Resource::LakeDatabase)?,
            patience,
        })
    }
}

impl History {
    fn table(&self, mut body: Value) -> Value {
        body["DatabaseName"] = json!(self.database);
        body["TableName"] = json!(sql::HISTORY);
        body
    }

    async fn partitions(&self, first: &str, last: &str) -> PortResult<Vec<Partition>> {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let mut body = json!({ "Expression": format!("dt >= '{first}' AND dt <= '{last}'") });
            if let Some(token) = token {
                body["NextToken"] = json!(token);
            }
            let answer = self
                .glue
                .ask(self.patience, GET_PARTITIONS, &self.table(body))
                .await?;
            let page: Partitions = serde_json::from_slice(&answer).map_err(PortError::rejected)?;
            // The local emulator answers with all there are.
            let within = |partition: &Partition| (first..=last).contains(&partition.day());
            found.extend(page.partitions.into_iter().filter(within));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// What lies under a prefix, in the order of names.
    pub(super) async fn list(&self, prefix: &str) -> PortResult<Listing> {
        let (mut objects, mut next) = (Vec::new(), None);
        loop {
            let list = self.s3.list_objects_v2().bucket(&self.bucket).prefix(prefix);
            let list = list.set_continuation_token(next);
            let list = || async { list.clone().send().await.map_err(failure::of_sdk) };
            let page = self.patience.run(list).await?;
            next = page.next_continuation_token;
            objects.extend(page.contents.unwrap_or_default());
            if next.is_none() {
                return Ok(Listing(objects));
            }
        }
    }

    /// Whether a day's Parquet is what its objects are.
    async fn is_current(&self, partition: &Partition) -> PortResult<bool> {
        let (objects, files) = (&partition.parameters[OF_OBJECTS], &partition.parameters[OF_FILES]);
        let Some(prefix) = self.prefix(partition.location()) else {
            return Ok(false);
        };
        if objects.is_null() || files.is_null() {
            return Ok(false);
        }
        let of_objects = objects_of(partition.day());
        let (listed, own) = try_join!(self.list(&of_objects), self.list(prefix))?;
        Ok(*objects == listed.hash() && *files == own.hash())
    }

    fn prefix<'a>(&self, location: &'a str) -> Option<&'a str> {
        let rest = location.strip_prefix("s3://")?.strip_prefix(&*self.bucket)?;
        rest.strip_prefix('/').filter(|prefix| !prefix.is_empty())
    }

    /// The days (`yyyy-mm-dd`) of these arrivals that may be read as Parquet; where that is not told, none.
    pub(super) async fn current(&self, arrivals: &Range<Hour>) -> Vec<String> {
        if arrivals.start >= arrivals.end {
            return Vec::new();
        }
        let ((first, _), (last, _)) = (
            sql::partition(arrivals.start),
            sql::partition(Hour(arrivals.end.0 - 1)),
        );
        let current = self.current_of(&first, &last).await;
        current.unwrap_or_else(|error| {
            tracing::warn!(%error, "the lake is read from its objects alone");
            Vec::new()
        })
    }

    /// The same of the days from `first` to `last`.
    ///
    /// # Errors
    /// Glue or S3 does not answer.
    pub(super) async fn current_of(&self, first: &str, last: &str) -> PortResult<Vec<String>> {
        let partitions = self.partitions(first, last).await?;
        let current = |partition: Partition| async move {
            let current = self.is_current(&partition).await?;
            PortResult::Ok(current.then(|| partition.day().to_owned()))
        };
        let mut days: Vec<String> = try_join_all(partitions.into_iter().map(current))
            .await?
            .into_iter()
            .flatten()
            .collect();
        days.sort_unstable();
        Ok(days)
    }

    /// The days from `first` to `last` that were compared once, whether they may be read or not.
    pub(super) async fn compared(&self, first: &str, last: &str) -> PortResult<HashSet<String>> {
        let partitions = self.partitions(first, last).await?;
        let compared = partitions
            .iter()
            .filter(|partition| !partition.parameters[OF_FILES].is_null());
        Ok(compared.map(|partition| partition.day().to_owned()).collect())
    }

    /// Where a day's Parquet lies, if it has any.
    pub(super) async fn location(&self, day: &str) -> PortResult<Option<String>> {
        let found = self.partitions(day, day).await?;
        Ok(found.first().map(|partition| partition.location().to_owned()))
    }

    /// Lets the table read a day from this prefix. With the listings that were compared it may be read instead of the objects.
    pub(super) async fn put(
        &self,
        day: &str,
        prefix: &str,
        compared: Option<(&Listing, &Listing)>,
    ) -> PortResult<()> {
        let table = json!({ "DatabaseName": self.database, "Name": sql::HISTORY });
        let answer = self.glue.ask(self.patience, GET_TABLE, &table).await?;
        let mut answer: Value = serde_json::from_slice(&answer).map_err(PortError::rejected)?;
        let mut storage = answer["Table"]["StorageDescriptor"].take();
        storage["Location"] = json!(format!("s3://{}/{prefix}", self.bucket));
        let parameters = match compared {
            Some((objects, files)) => json!({ OF_OBJECTS: objects.hash(), OF_FILES: files.hash() }),
            None => json!({}),
        };
        let input = json!({ "Values": [day], "StorageDescriptor": storage, "Parameters": parameters });
        let create = self.table(json!({ "PartitionInput": input }));
        let create = serde_json::to_vec(&create).map_err(PortError::rejected)?;
        let try_create = || async {
            let answer = self.glue.call(CREATE_PARTITION, create.clone()).await?;
            match answer.code().as_deref() {
                _ if answer.status == 200 => Ok(true),
                Some("AlreadyExistsException") => Ok(false),
                _ => Err(answer.fault()),
            }
        };
        if self.patience.run(try_create).await? {
            return Ok(());
        }
        let entry = json!({ "PartitionValueList": [day], "PartitionInput": input });
        let update = self.table(json!({ "Entries": [entry] }));
        let answer = self.glue.ask(self.patience, UPDATE_PARTITION, &update).await?;
        let answer: Value = serde_json::from_slice(&answer).map_err(PortError::rejected)?;
        match answer["Errors"].as_array() {
            Some(errors) if !errors.is_empty() => Err(PortError::unavailable(format!(
                "the partition of {day}: {errors:?}"
            ))),
            _ => Ok(()),
        }
    }

    /// Lets the table know nothing of a day.
    pub(super) async fn forget(&self, day: &str) -> PortResult<()> {
        let body = self.table(json!({ "PartitionValues": [day] }));
        self.glue
            .ask(self.patience, DELETE_PARTITION, &body)
            .await
            .map(drop)
    }

    /// Deletes objects.
    pub(super) async fn delete(&self, keys: impl Iterator<Item = &str>) -> PortResult<()> {
        for key in keys {
            let delete = || async {
                let delete = self.s3.delete_object().bucket(&self.bucket).key(key);
                delete.send().await.map_err(failure::of_sdk).map(drop)
            };
            self.patience.run(delete).await?;
        }
        Ok(())
    }
}
