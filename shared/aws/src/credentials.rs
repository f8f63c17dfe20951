//! Credentials for the lean client, kept until shortly before they run out.
//!
//! Invariant: credentials that have run out are never signed with while the provider answers; while it does not, those in
//! hand are used to their end.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arc_swap::ArcSwapOption;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use clickledger_core::ports::{Clock, PortError, PortResult};
use tokio::sync::Mutex;

/// New ones are asked for when the old ones have so long to live, milliseconds.
const EARLY_MS: i64 = 5 * 60_000;

/// The credentials of a process.
pub(crate) struct CredentialCache {
    provider: SharedCredentialsProvider,
    clock: Arc<dyn Clock>,
    kept: ArcSwapOption<Credentials>,
    asking: Mutex<()>,
}

fn runs_out_ms(credentials: &Credentials) -> i64 {
    credentials
        .expiry()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .map_or(i64::MAX, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

impl CredentialCache {
    pub(crate) fn new(provider: SharedCredentialsProvider, clock: Arc<dyn Clock>) -> Self {
        Self {
            provider,
            clock,
            kept: ArcSwapOption::empty(),
            asking: Mutex::new(()),
        }
    }

    fn kept_beyond(&self, ms: i64) -> Option<Arc<Credentials>> {
        let limit = self.clock.now_ms().saturating_add(ms);
        self.kept.load_full().filter(|kept| runs_out_ms(kept) > limit)
    }

    /// The credentials to sign with.
    pub(crate) async fn get(&self) -> PortResult<Arc<Credentials>> {
        if let Some(kept) = self.kept_beyond(EARLY_MS) {
            return Ok(kept);
        }
        let _one = self.asking.lock().await;
        if let Some(kept) = self.kept_beyond(EARLY_MS) {
            return Ok(kept);
        }
        match self.provider.provide_credentials().await {
            Ok(new) => {
                let new = Arc::new(new);
                self.kept.store(Some(Arc::clone(&new)));
                Ok(new)
            }
            Err(error) => match self.kept_beyond(0) {
                Some(kept) => {
                    tracing::warn!(%error, "no new credentials; those in hand are used on");
                    Ok(kept)
                }
                None => Err(PortError::unavailable(error)),
            },
        }
    }

    /// Asks for them ahead of the first call.
    pub(crate) async fn warm(&self) {
        if let Err(error) = self.get().await {
            tracing::warn!(%error, "no credentials yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::future;

    use super::*;

    #[derive(Default)]
    struct Watch(AtomicI64);

    #[async_trait]
    impl Clock for Watch {
        fn now_ms(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
        async fn sleep(&self, _: u64) {}
    }

    /// Gives credentials of an hour, twice; then it is down.
    #[derive(Debug, Default)]
    struct Twice(AtomicUsize);

    impl ProvideCredentials for Twice {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let hours = self.0.fetch_add(1, Ordering::Relaxed) as u64 + 1;
            future::ProvideCredentials::ready(if hours <= 2 {
                let until = UNIX_EPOCH + Duration::from_secs(3_600 * hours);
                Ok(Credentials::new(
                    format!("key{hours}"),
                    "secret",
                    None,
                    Some(until),
                    "test",
                ))
            } else {
                Err(CredentialsError::provider_timed_out(Duration::from_secs(1)))
            })
        }
    }

    #[tokio::test]
    async fn credentials_are_renewed_before_they_run_out_and_used_to_their_end_when_nobody_renews_them() {
        let watch = Arc::new(Watch::default());
        let cache = CredentialCache::new(SharedCredentialsProvider::new(Twice::default()), watch.clone());
        for (now_ms, key) in [
            (0, Some("key1")),
            (3_299_999, Some("key1")),
            (3_300_000, Some("key2")),
            (6_900_000, Some("key2")),
            (7_199_999, Some("key2")),
            (7_200_000, None),
        ] {
            watch.0.store(now_ms, Ordering::Relaxed);
            let kept = cache.get().await.ok();
            assert_eq!(
                kept.as_deref().map(Credentials::access_key_id),
                key,
                "at {now_ms}"
            );
        }
    }
}
