//! Clients for AWS, set up in one place: region, credentials and endpoints from where the SDK always takes them.
//!
//! Invariant: no client retries or waits by itself. Every call has a [`Patience`](crate::Patience) of its own, so that a
//! click never waits longer than its budgets and an answer that was lost is never mistaken for a refusal.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_types::body::SdkBody;
use clickledger_core::ports::Clock;
use futures_util::future::join_all;

use crate::config::{ConfigError, Names, Resource};
use crate::credentials::CredentialCache;
use crate::endpoint;
use crate::http_pool::Pool;
use crate::in_function;
use crate::signed::Signed;

/// How long warming waits for a service, milliseconds. Within a region it takes some 20; of one that is down, the first click
/// waits for this too, on top of its own limits, and is to be redirected within a second in all.
const WARM_MS: u64 = 150;

/// Where to find AWS, where the environment does not say it: a local emulator, in tests.
#[derive(Debug, Clone)]
pub struct Target {
    /// URL of every service.
    pub endpoint: String,
    /// Region.
    pub region: String,
    /// Access key; an emulator takes 12 digits for the number of an account of its own.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
}

/// What a signed request to a service takes.
pub(crate) struct Road {
    pub(crate) url: http::Uri,
    pub(crate) region: String,
    pub(crate) pool: Pool,
    pub(crate) credentials: Arc<CredentialCache>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Clients and names: what every adapter is made from. Cheap to clone.
#[derive(Clone)]
pub struct Aws(Arc<Inner>);

struct Inner {
    config: SdkConfig,
    names: Names,
    pool: Pool,
    credentials: Arc<CredentialCache>,
    clock: Arc<dyn Clock>,
    dynamodb: OnceLock<aws_sdk_dynamodb::Client>,
    kinesis: OnceLock<aws_sdk_kinesis::Client>,
    sqs: OnceLock<aws_sdk_sqs::Client>,
    s3: OnceLock<aws_sdk_s3::Client>,
    secrets: OnceLock<aws_sdk_secretsmanager::Client>,
}

impl Aws {
    /// In a Lambda function: region, credentials and endpoints from environment variables, as the SDK names them
    /// (`AWS_REGION`, `AWS_ENDPOINT_URL` …), and the `CLICKLEDGER_*` variables.
    ///
    /// # Errors
    /// No region.
    pub fn in_function(clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let pool = new_pool()?;
        let config = in_function::config(&pool)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self::new(config, pool, Names::from_env(), clock)
    }

    /// On an operator's machine: from wherever the SDK takes it (environment, profiles …), and the `CLICKLEDGER_*` variables.
    ///
    /// # Errors
    /// No region.
    pub async fn from_env(clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let pool = new_pool()?;
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(pool.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .load()
            .await;
        Self::new(config, pool, Names::from_env(), clock)
    }

    /// For a given target and given names.
    ///
    /// # Errors
    /// An endpoint that is no URL.
    pub fn at(target: Target, names: Names, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let pool = new_pool()?;
        let credentials = Credentials::new(
            target.access_key_id,
            target.secret_access_key,
            None,
            None,
            "target",
        );
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(target.region))
            .endpoint_url(target.endpoint)
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
                credentials,
            ))
            .http_client(pool.clone())
            .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
                aws_smithy_async::rt::sleep::TokioSleep::new(),
            ))
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self::new(config, pool, names, clock)
    }

    fn new(config: SdkConfig, pool: Pool, names: Names, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        if config.region().is_none() {
            return Err(ConfigError::NoRegion);
        }
        let provider = config.credentials_provider().ok_or(ConfigError::NoCredentials)?;
        Ok(Self(Arc::new(Inner {
            credentials: Arc::new(CredentialCache::new(provider, Arc::clone(&clock))),
            config,
            names,
            pool,
            clock,
            dynamodb: OnceLock::new(),
            kinesis: OnceLock::new(),
            sqs: OnceLock::new(),
            s3: OnceLock::new(),
            secrets: OnceLock::new(),
        })))
    }

    /// The resource's name.
    pub(crate) fn name(&self, resource: Resource) -> Result<String, ConfigError> {
        self.0.names.get(resource).map(str::to_owned)
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.0.clock)
    }

    /// The DynamoDB client.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let client = || aws_sdk_dynamodb::Client::new(&self.0.config);
        self.0.dynamodb.get_or_init(client).clone()
    }

    /// The Kinesis client.
    pub fn kinesis(&self) -> aws_sdk_kinesis::Client {
        let client = || aws_sdk_kinesis::Client::new(&self.0.config);
        self.0.kinesis.get_or_init(client).clone()
    }

    /// The SQS client.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let client = || aws_sdk_sqs::Client::new(&self.0.config);
        self.0.sqs.get_or_init(client).clone()
    }

    /// The S3 client.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let client = || {
            // An endpoint of one's own has no name for each bucket.
            let own_endpoint = endpoint::given(&self.0.config, "s3").is_some();
            let config = aws_sdk_s3::config::Builder::from(&self.0.config).force_path_style(own_endpoint);
            aws_sdk_s3::Client::from_conf(config.build())
        };
        self.0.s3.get_or_init(client).clone()
    }

    /// The Secrets Manager client.
    pub fn secrets(&self) -> aws_sdk_secretsmanager::Client {
        let client = || aws_sdk_secretsmanager::Client::new(&self.0.config);
        self.0.secrets.get_or_init(client).clone()
    }

    /// The lean client of a service, which speaks its JSON protocol.
    pub(crate) async fn signed(&self, service: &'static str) -> Result<Signed, ConfigError> {
        let url = endpoint::of(&self.0.config, service).await?;
        let region = self.0.config.region().ok_or(ConfigError::NoRegion)?;
        Ok(Signed::new(
            self.0.pool.clone(),
            service,
            url,
            region.as_ref(),
            Arc::clone(&self.0.credentials),
            Arc::clone(&self.0.clock),
        ))
    }

    /// How to reach a service that no adapter needs.
    pub(crate) async fn road(&self, service: &str) -> Result<Road, ConfigError> {
        Ok(Road {
            url: endpoint::of(&self.0.config, service).await?,
            region: self.0.config.region().ok_or(ConfigError::NoRegion)?.to_string(),
            pool: self.0.pool.clone(),
            credentials: Arc::clone(&self.0.credentials),
            clock: Arc::clone(&self.0.clock),
        })
    }

    /// Finds the credentials and opens a connection to each of these services (`dynamodb`, `kinesis`, `sqs`, `s3`,
    /// `secretsmanager`), all at once, so that the first click does not wait for DNS and TLS. What fails here is tried again by
    /// whoever needs it.
    pub async fn warm(&self, services: &[&'static str]) {
        let opened = join_all(services.iter().map(|service| self.open(service)));
        let ((), _) = futures_util::future::join(self.0.credentials.warm(), opened).await;
    }

    /// Any answer will do: an unsigned request needs no permission.
    async fn open(&self, service: &'static str) {
        let Ok(url) = endpoint::of(&self.0.config, service).await else {
            return;
        };
        let mut request = http::Request::new(SdkBody::empty());
        *request.uri_mut() = url;
        let opened = async {
            let response = self.0.pool.send(request).await?;
            // Read to its end: only then the connection is free for the next request.
            drop(http_body_util::BodyExt::collect(response.into_body()).await);
            Ok::<(), hyper_util::client::legacy::Error>(())
        };
        match tokio::time::timeout(Duration::from_millis(WARM_MS), opened).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(service, %error, "a connection could not be opened ahead"),
            Err(_) => tracing::warn!(service, "a connection could not be opened ahead: no answer"),
        }
    }
}

fn new_pool() -> Result<Pool, ConfigError> {
    // ring has every cipher suite that rustls's safe defaults ask for.
    Pool::new().map_err(|error| ConfigError::BadEndpoint(error.to_string()))
}
