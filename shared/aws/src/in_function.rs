//! Region, credentials and endpoints in a Lambda function: environment variables, and for credentials that are renewed the
//! container endpoint.
//!
//! The SDK's own way asks profiles, STS and instance metadata too. None of them exists there, and each is linked in: a sixth of a
//! function's zip, and of what a cold start loads.

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::config::variable;
use crate::http_pool::Pool;

/// What the environment says of one service (`AWS_ENDPOINT_URL_S3`), or else of all.
#[derive(Debug)]
struct OfServices;

impl LoadServiceConfig for OfServices {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_uppercase().replace(' ', "_");
        variable(&format!("{}_{service}", key.env())).or_else(|| variable(key.env()))
    }
}

/// The configuration of a function's clients, before how often they retry.
pub(crate) fn config(pool: &Pool) -> aws_types::sdk_config::Builder {
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    let region = region.map(Region::new);
    let (sleep, time) = (
        SharedAsyncSleep::new(TokioSleep::new()),
        SharedTimeSource::new(SystemTimeSource::new()),
    );
    let switched_on = |name: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let provider = ProviderConfig::empty()
        .with_region(region.clone())
        .with_http_client(pool.clone())
        .with_sleep_impl(sleep.clone())
        .with_time_source(time.clone());
    // A function's credentials are in its environment; where it outlives them, as on managed instances, an endpoint renews them.
    let container = EcsCredentialsProvider::builder().configure(&provider).build();
    let credentials =
        CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("Container", container);
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(pool.clone())
        .sleep_impl(sleep)
        .time_source(time)
        .service_config(OfServices)
        .use_fips(switched_on("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(switched_on("AWS_USE_DUALSTACK_ENDPOINT"));
    config.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
    config
}
