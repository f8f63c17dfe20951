//! Where a service is: as the SDK finds it, for whoever does not speak through the SDK.

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use http::Uri;

use crate::config::ConfigError;

/// The endpoint that the environment or a profile gives for this service, or for all.
pub(crate) fn given(config: &SdkConfig, service: &str) -> Option<String> {
    let (id, env) = match service {
        "dynamodb" => ("dynamodb", "AWS_ENDPOINT_URL_DYNAMODB"),
        "kinesis" => ("kinesis", "AWS_ENDPOINT_URL_KINESIS"),
        "sqs" => ("sqs", "AWS_ENDPOINT_URL_SQS"),
        "s3" => ("s3", "AWS_ENDPOINT_URL_S3"),
        "athena" => ("athena", "AWS_ENDPOINT_URL_ATHENA"),
        "lambda" => ("lambda", "AWS_ENDPOINT_URL_LAMBDA"),
        "monitoring" => ("cloudwatch", "AWS_ENDPOINT_URL_CLOUDWATCH"),
        "logs" => ("cloudwatch_logs", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"),
        "cloudformation" => ("cloudformation", "AWS_ENDPOINT_URL_CLOUDFORMATION"),
        "servicequotas" => ("service_quotas", "AWS_ENDPOINT_URL_SERVICE_QUOTAS"),
        _ => ("secrets_manager", "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
    };
    let of_service = || {
        let key = ServiceConfigKey::builder()
            .service_id(id)
            .env(env)
            .profile("endpoint_url");
        config.service_config()?.load_config(key.build().ok()?)
    };
    of_service().or_else(|| config.endpoint_url().map(str::to_owned))
}

/// The URL that requests to this service go to.
pub(crate) async fn of(config: &SdkConfig, service: &str) -> Result<Uri, ConfigError> {
    let url = match given(config, service) {
        Some(url) => url,
        None => regional(config, service).await?,
    };
    let mut parts = url
        .parse::<Uri>()
        .map_err(|_| ConfigError::BadEndpoint(url.clone()))?
        .into_parts();
    if parts.scheme.is_none() || parts.authority.is_none() {
        return Err(ConfigError::BadEndpoint(url));
    }
    // These protocols post to the root.
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).map_err(|_| ConfigError::BadEndpoint(url))
}

/// As the SDK's own rules have it: partitions, FIPS, dual stack.
async fn regional(config: &SdkConfig, service: &str) -> Result<String, ConfigError> {
    let region = config.region().ok_or(ConfigError::NoRegion)?.to_string();
    let (fips, dual) = (
        config.use_fips().unwrap_or(false),
        config.use_dual_stack().unwrap_or(false),
    );
    macro_rules! resolved {
        ($sdk:ident) => {{
            use $sdk::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
            let params = Params::builder()
                .region(&region)
                .use_fips(fips)
                .use_dual_stack(dual);
            match params.build() {
                Ok(params) => DefaultResolver::new()
                    .resolve_endpoint(&params)
                    .await
                    .map(|endpoint| endpoint.url().to_owned())
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        }};
    }
    let url = match service {
        "dynamodb" => resolved!(aws_sdk_dynamodb),
        "kinesis" => resolved!(aws_sdk_kinesis),
        "sqs" => resolved!(aws_sdk_sqs),
        "s3" => resolved!(aws_sdk_s3),
        "athena" | "lambda" | "logs" | "monitoring" | "cloudformation" | "servicequotas" => {
            Ok(plain(service, &region, fips))
        }
        _ => resolved!(aws_sdk_secretsmanager),
    };
    url.map_err(ConfigError::BadEndpoint)
}

/// Of a service that operators ask: there is no SDK here that knows its rules, and these have none of their own.
fn plain(service: &str, region: &str, fips: bool) -> String {
    let fips = if fips { "-fips" } else { "" };
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://{service}{fips}.{region}.amazonaws.com{china}")
}

#[cfg(test)]
mod tests {
    use aws_config::Region;

    use super::*;

    #[tokio::test]
    async fn services_are_found_where_the_sdk_finds_them() {
        let config = |region: &'static str| SdkConfig::builder().region(Region::new(region));
        for (service, region, url) in [
            (
                "dynamodb",
                "eu-central-1",
                "https://dynamodb.eu-central-1.amazonaws.com/",
            ),
            ("kinesis", "us-east-1", "https://kinesis.us-east-1.amazonaws.com/"),
            (
                "kinesis",
                "cn-north-1",
                "https://kinesis.cn-north-1.amazonaws.com.cn/",
            ),
            ("sqs", "us-east-1", "https://sqs.us-east-1.amazonaws.com/"),
            (
                "secretsmanager",
                "us-east-1",
                "https://secretsmanager.us-east-1.amazonaws.com/",
            ),
            ("logs", "eu-west-1", "https://logs.eu-west-1.amazonaws.com/"),
            (
                "monitoring",
                "us-east-1",
                "https://monitoring.us-east-1.amazonaws.com/",
            ),
            ("athena", "us-east-1", "https://athena.us-east-1.amazonaws.com/"),
            (
                "servicequotas",
                "cn-north-1",
                "https://servicequotas.cn-north-1.amazonaws.com.cn/",
            ),
        ] {
            assert_eq!(of(&config(region).build(), service).await.unwrap(), url);
        }
        let own = config("us-east-1").endpoint_url("http://127.0.0.1:4566");
        assert_eq!(
            of(&own.build(), "dynamodb").await.unwrap(),
            "http://127.0.0.1:4566/"
        );
        for bad in ["", "127.0.0.1", "/x", "http://"] {
            let config = config("us-east-1").endpoint_url(bad).build();
            assert!(of(&config, "kinesis").await.is_err(), "{bad:?}");
        }
    }
}
