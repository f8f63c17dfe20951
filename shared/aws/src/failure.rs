//! How what goes wrong on AWS becomes a [`PortError`]: the one place where that is decided.
//!
//! Invariant: `Unavailable` is only said of what was certainly not done; `Rejected` only of what the service will not take
//! because of what it is, never because of who asks or where: a missing table or permission can be mended, and what
//! waits for it must not be put into quarantine. Whatever is neither is `Ambiguous`.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use clickledger_core::ports::PortError;

use crate::http_pool::NotSent;

/// What a service calls the fault of its caller: the same request will never be taken.
const REJECTED: [&str; 11] = [
    "ValidationException",
    "SerializationException",
    "ItemCollectionSizeLimitExceededException",
    "InvalidArgumentException",
    "InvalidParameterException",
    "InvalidParameterValue",
    "InvalidMessageContents",
    "EntityTooLarge",
    "MaxMessageLengthExceeded",
    "RequestTooLarge",
    "RecordTooLarge",
];

/// What was refused before anything was done, although the status is one of a server's fault.
const REFUSED: [&str; 6] = [
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "SlowDown",
    "ThrottlingException",
    "RequestThrottled",
    "KMSThrottlingException",
];

/// What a service's answer means, by its code (without a namespace) and HTTP status.
pub(crate) fn answered(code: Option<&str>, status: u16, message: &str) -> PortError {
    let name = code.unwrap_or("no error code");
    let text = format!("{name} (HTTP {status}): {message}");
    if REJECTED.contains(&name) || status == 413 {
        PortError::rejected(text)
    } else if status < 400 || status >= 500 && status != 503 && !REFUSED.contains(&name) {
        // A success that cannot be read; or the service broke down on it, at a point that nobody knows.
        PortError::ambiguous(text)
    } else {
        PortError::unavailable(text)
    }
}

/// Whether no connection came about.
fn never_sent(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<NotSent>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The error with all its causes, as one line.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// What became of an SDK's call.
#[allow(clippy::needless_pass_by_value)] // what `map_err` gives
pub(crate) fn of_sdk<E>(error: SdkError<E, HttpResponse>) -> PortError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match &error {
        SdkError::ServiceError(service) => {
            let (error, status) = (service.err(), service.raw().status().as_u16());
            answered(error.code(), status, error.message().unwrap_or_default())
        }
        // Not even built: mostly, no credentials.
        SdkError::ConstructionFailure(_) => PortError::unavailable(with_causes(&error)),
        SdkError::DispatchFailure(failure) if failure.is_user() || never_sent(&error) => {
            PortError::unavailable(with_causes(&error))
        }
        // No answer, or none that can be read.
        _ => PortError::ambiguous(with_causes(&error)),
    }
}

/// What became of a call through the pool.
pub(crate) fn of_pool(error: &hyper_util::client::legacy::Error) -> PortError {
    if error.is_connect() {
        PortError::unavailable(with_causes(error))
    } else {
        PortError::ambiguous(with_causes(error))
    }
}

/// Something that is stored and cannot be read: waiting does not mend it.
pub(crate) fn damaged(what: &str) -> PortError {
    PortError::rejected(format!("damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_what_they_say_was_done() {
        for (code, status) in [
            ("ProvisionedThroughputExceededException", 400),
            ("ThrottlingException", 400),
            ("RequestLimitExceeded", 400),
            ("ResourceNotFoundException", 400),
            ("AccessDeniedException", 400),
            ("ExpiredTokenException", 400),
            ("ServiceUnavailable", 503),
            ("SlowDown", 503),
            ("RequestThrottled", 500),
        ] {
            let error = answered(Some(code), status, "");
            assert!(matches!(error, PortError::Unavailable(_)), "{code}: {error:?}");
        }
        for (code, status) in [
            ("ValidationException", 400),
            ("InvalidMessageContents", 400),
            ("EntityTooLarge", 400),
        ] {
            let error = answered(Some(code), status, "");
            assert!(matches!(error, PortError::Rejected(_)), "{code}: {error:?}");
        }
        assert!(matches!(answered(None, 413, ""), PortError::Rejected(_)));
        for (code, status) in [
            (Some("InternalServerError"), 500),
            (Some("InternalFailure"), 500),
            (None, 502),
            (None, 504),
            (None, 200),
        ] {
            let error = answered(code, status, "");
            assert!(matches!(error, PortError::Ambiguous(_)), "{code:?}: {error:?}");
        }
    }
}
