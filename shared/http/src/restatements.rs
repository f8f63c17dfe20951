//! `POST /v1/reconciliations`: asking for a past range to be recounted.
//!
//! Invariant: only administrators start anything.

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clickledger_core::domain::time::{DAY_MS, HOUR_MS, Hour};
use clickledger_core::ports::PortResult;
use clickledger_core::service::ads::FieldError;
use clickledger_core::service::metrics::LocalTime;
use clickledger_core::service::reconcile::Restatement;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{Administrator, Api};
use crate::params::NoParams;
use crate::problem::{Kind, Problem, ProblemDocument};
use crate::reconciliations::Reconciliations;
use crate::request_body::JsonBody;

/// Longest range of a restatement, milliseconds.
const LONGEST_MS: i64 = 366 * DAY_MS;

/// Starts restatements.
#[async_trait]
pub trait Restatements: Send + Sync {
    /// Sees to it that the range is recounted, soon; a report of each hour says what came of it.
    ///
    /// # Errors
    /// It was not started.
    async fn start(&self, order: Restatement) -> PortResult<()>;
}

/// A range to be recounted under the present rules.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestatementBody {
    /// From when on: the beginning of an hour.
    #[schema(value_type = String, format = DateTime)]
    from: LocalTime,
    /// Until when, exclusive: the end of an hour that is over.
    #[schema(value_type = String, format = DateTime)]
    to: LocalTime,
    /// Whether to report only, and change nothing.
    #[serde(default)]
    dry_run: bool,
    /// Whether counts may be lowered by more than repeats in the lake explain; else such hours are left disputed.
    #[serde(default)]
    accept_lowering: bool,
}

/// A restatement that was accepted. Its hours' reports say what comes of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct RestatementView {
    #[schema(value_type = String, format = DateTime)]
    from: LocalTime,
    #[schema(value_type = String, format = DateTime)]
    to: LocalTime,
    dry_run: bool,
    accept_lowering: bool,
    /// Reports of it are not older.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: LocalTime,
}

/// Has a past range recounted under the present rules, soon. A report for each of its hours, of the run `restatement` or `dry_run`,
/// says what was found and done.
#[utoipa::path(post, path = "/v1/reconciliations", tag = "reconciliations", operation_id = "restate", security(("key" = [])), request_body = RestatementBody,
    responses(
        (status = 202, body = RestatementView, description = "Accepted; `Location` leads to the reports"),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused; 422 for too long a range"),
    ))]
pub(crate) async fn restate(
    _: Administrator,
    _: NoParams,
    State(api): State<Api<Reconciliations>>,
    JsonBody(body): JsonBody<RestatementBody>,
) -> Result<Response, Problem> {
    let now_ms = api.of.clock.now_ms();
    let (from_ms, to_ms) = (body.from.unix_ms, body.to.unix_ms);
    let mut errors = Vec::new();
    for (name, at_ms) in [("from", from_ms), ("to", to_ms)] {
        if at_ms % HOUR_MS != 0 {
            errors.push(FieldError::new(name, "must be the beginning of an hour"));
        }
    }
    if from_ms >= to_ms {
        errors.push(FieldError::new("to", "must be after from"));
    } else if to_ms > now_ms {
        errors.push(FieldError::new("to", "must not be in the future"));
    }
    if !errors.is_empty() {
        return Err(Problem::of(Kind::InvalidBody, errors));
    }
    if to_ms - from_ms > LONGEST_MS {
        return Err(Problem::new(
            Kind::RangeTooLarge,
            "a restatement is of 366 days at most",
        ));
    }
    let order = Restatement {
        from: Hour::of(from_ms),
        to: Hour::of(to_ms),
        dry_run: body.dry_run,
        accept_lowering: body.accept_lowering,
        asked_at_ms: Some(now_ms),
    };
    api.of.restatements.start(order).await?;
    let (from, to) = (LocalTime::utc(from_ms), LocalTime::utc(to_ms));
    // Relative to the request's own address, which may lie under a prefix.
    let location = HeaderValue::try_from(format!("reconciliations?from={from}&to={to}"))
        .map_err(|_| Problem::new(Kind::Internal, "the reports' address cannot be sent"))?;
    let view = RestatementView {
        from,
        to,
        dry_run: order.dry_run,
        accept_lowering: order.accept_lowering,
        accepted_at: LocalTime::utc(now_ms),
    };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(view)).into_response())
}
