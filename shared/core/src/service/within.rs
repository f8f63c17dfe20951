//! A port call with a time limit.

use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};

use crate::ports::{Clock, PortError, PortResult};

/// The call's answer, or [`PortError::Ambiguous`] when it takes longer than `ms`: it may still take effect.
pub(super) async fn within<T>(
    clock: &dyn Clock,
    ms: u64,
    call: impl Future<Output = PortResult<T>>,
) -> PortResult<T> {
    match select(pin!(call), pin!(clock.sleep(ms))).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Err(PortError::ambiguous(format!("no answer within {ms} ms"))),
    }
}
