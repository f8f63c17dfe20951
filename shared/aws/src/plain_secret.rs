//! A secret that is plain text: what a trusted proxy sends.
//!
//! Invariant: the text stands in no error and no log.

use clickledger_core::ports::{PortError, PortResult};

use crate::connect::Aws;
use crate::failure;
use crate::patience::Patience;

impl Aws {
    /// The text of the secret of this name or ARN.
    ///
    /// # Errors
    /// Secrets Manager does not answer, or the secret has no text.
    pub async fn plain_secret(&self, secret: &str, patience: Patience) -> PortResult<String> {
        let get = self.secrets().get_secret_value().secret_id(secret);
        let read = || async { get.clone().send().await.map_err(failure::of_sdk) };
        let value = patience.run(read).await?;
        value
            .secret_string
            .ok_or_else(|| PortError::rejected("the secret holds no text"))
    }
}
