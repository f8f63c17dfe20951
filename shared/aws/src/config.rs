//! Names of the AWS resources that the adapters work on, read from the environment once, at start.
//!
//! Invariant: a name that is missing or empty is an error that says which variable is meant; there is no default.

use std::collections::HashMap;

/// Something on AWS that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// DynamoDB table of ads.
    Ads,
    /// DynamoDB table of placements.
    Placements,
    /// DynamoDB table of API keys.
    Keys,
    /// DynamoDB table of claims.
    Claims,
    /// DynamoDB table of buckets.
    Buckets,
    /// DynamoDB table of lane logs.
    Lanes,
    /// DynamoDB table of the hours' states.
    Hours,
    /// Kinesis stream of clicks.
    Stream,
    /// URL of the SQS queue of spilled clicks.
    SpillQueue,
    /// S3 bucket of lake, quarantine and catalogue snapshot.
    Bucket,
    /// Secrets Manager secret of token keys, by name or ARN.
    TokenSecret,
    /// Glue database of the lake's table.
    LakeDatabase,
    /// Athena workgroup in which the lake is read.
    Workgroup,
    /// The Lambda function `reconcile`.
    ReconcileFunction,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Resource; 14] = [
        Resource::Ads,
        Resource::Placements,
        Resource::Keys,
        Resource::Claims,
        Resource::Buckets,
        Resource::Lanes,
        Resource::Hours,
        Resource::Stream,
        Resource::SpillQueue,
        Resource::Bucket,
        Resource::TokenSecret,
        Resource::LakeDatabase,
        Resource::Workgroup,
        Resource::ReconcileFunction,
    ];

    /// The environment variable that holds its name.
    pub fn variable(self) -> &'static str {
        match self {
            Resource::Ads => "CLICKLEDGER_ADS_TABLE",
            Resource::Placements => "CLICKLEDGER_PLACEMENTS_TABLE",
            Resource::Keys => "CLICKLEDGER_KEYS_TABLE",
            Resource::Claims => "CLICKLEDGER_CLAIMS_TABLE",
            Resource::Buckets => "CLICKLEDGER_BUCKETS_TABLE",
            Resource::Lanes => "CLICKLEDGER_LANES_TABLE",
            Resource::Hours => "CLICKLEDGER_HOURS_TABLE",
            Resource::Stream => "CLICKLEDGER_STREAM",
            Resource::SpillQueue => "CLICKLEDGER_SPILL_QUEUE_URL",
            Resource::Bucket => "CLICKLEDGER_BUCKET",
            Resource::TokenSecret => "CLICKLEDGER_TOKEN_SECRET",
            Resource::LakeDatabase => "CLICKLEDGER_LAKE_DATABASE",
            Resource::Workgroup => "CLICKLEDGER_WORKGROUP",
            Resource::ReconcileFunction => "CLICKLEDGER_RECONCILE_FUNCTION",
        }
    }
}

/// Why there is no connection to AWS. Each names what is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A resource's name is not given.
    #[error("the environment variable {0} is not set: it names a resource that this function works on")]
    Missing(&'static str),
    /// No region.
    #[error("no AWS region: set AWS_REGION")]
    NoRegion,
    /// No credentials provider.
    #[error(
        "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the function a role"
    )]
    NoCredentials,
    /// An endpoint that is no URL.
    #[error("{0:?} is not the URL of an endpoint")]
    BadEndpoint(String),
}

/// An environment variable that says something.
#[allow(clippy::disallowed_methods)] // asked at start, by whoever wires a binary
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The names that are known.
#[derive(Debug, Clone, Default)]
pub struct Names(HashMap<Resource, String>);

impl Names {
    /// Whatever of them the environment says.
    pub fn from_env() -> Self {
        Resource::ALL
            .into_iter()
            .filter_map(|resource| Some((resource, variable(resource.variable())?)))
            .fold(Self::default(), |names, (resource, name)| {
                names.with(resource, name)
            })
    }

    /// With this name too. An empty one is none.
    #[must_use]
    pub fn with(mut self, resource: Resource, name: impl Into<String>) -> Self {
        let name = name.into();
        if !name.is_empty() {
            self.0.insert(resource, name);
        }
        self
    }

    /// The resource's name.
    ///
    /// # Errors
    /// [`ConfigError::Missing`]
    pub fn get(&self, resource: Resource) -> Result<&str, ConfigError> {
        self.0
            .get(&resource)
            .map(String::as_str)
            .ok_or(ConfigError::Missing(resource.variable()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_name_is_told_by_its_variable() {
        let names = Names::default()
            .with(Resource::Ads, "ads")
            .with(Resource::Hours, "");
        assert_eq!(names.get(Resource::Ads), Ok("ads"));
        for resource in Resource::ALL
            .into_iter()
            .filter(|resource| *resource != Resource::Ads)
        {
            let error = names.get(resource).unwrap_err();
            assert!(error.to_string().contains(resource.variable()), "{error}");
        }
    }
}
