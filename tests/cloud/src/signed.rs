//! Signed requests to services that we have no client crate for: Lambda, CloudWatch Logs.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

use crate::api::{Answer, Api};

/// Who asks, and where.
#[derive(Debug, Clone)]
pub struct Signed {
    api: Api,
    credentials: Credentials,
    region: String,
}

impl Signed {
    /// At this endpoint.
    pub fn at(endpoint: &str, region: &str, access_key_id: &str, secret: &str) -> Self {
        Self {
            api: Api::at(endpoint),
            credentials: Credentials::new(access_key_id, secret, None, None, "tests"),
            region: region.to_owned(),
        }
    }

    /// Sends a request to a service, and wants a status below 300.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    #[allow(clippy::disallowed_methods)] // the emulator judges a signature's age by the machine's clock
    pub fn send(
        &self,
        service: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let request = SignableRequest::new(
            method,
            format!("{}{path}", self.api.url()),
            headers.iter().copied(),
            SignableBody::Bytes(body.as_bytes()),
        )?;
        let (instructions, _) = sign(request, &params)?.into_parts();
        let headers: Vec<_> = headers.iter().copied().chain(instructions.headers()).collect();
        let answer = self.api.send(method, path, &headers, body)?;
        ensure!(
            answer.status < 300,
            "{service} {method} {path}: {} {}",
            answer.status,
            answer.body
        );
        Ok(answer)
    }
}
