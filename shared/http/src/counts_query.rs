//! What is asked of counts: the parameters of a query, from the address or from a body.
//!
//! Invariant: a parameter is understood as it is meant or refused by its name.

use axum::http::HeaderMap;
use clickledger_core::domain::entity::Entity;
use clickledger_core::service::ads::FieldError;
use clickledger_core::service::metrics::{
    CellFilter, Granularity, GroupBy, LocalTime, MetricsQuery, QueryError,
};

use crate::accept::preferred;
use crate::counts::Counts;
use crate::params::Params;
use crate::problem::{Kind, Problem};

/// How far `to` may lie in the future, milliseconds: the minute that is running, by clocks that are not quite the same.
const AHEAD_MS: i64 = 5 * 60_000;
pub(crate) const MAX_ROWS: usize = 10_000;
const KNOWN: [&str; 14] = [
    "from",
    "to",
    "granularity",
    "group_by",
    "tz",
    "window",
    "device",
    "country",
    "metrics",
    "order",
    "compare",
    "limit",
    "cursor",
    "format",
];

/// What is asked, of whatever entity, and how it is to be written.
pub(crate) struct Asked {
    query: MetricsQuery,
    pub(crate) csv: bool,
}

impl Counts {
    /// Reads the parameters of an address.
    pub(crate) fn understand(&self, query: Option<&str>, headers: &HeaderMap) -> Result<Asked, Problem> {
        let mut params = Params::new(query, &KNOWN);
        let csv = match params.text("format") {
            None => preferred(headers, &["application/json", "text/csv"]) == 1,
            Some("json") => false,
            Some("csv") => true,
            Some(_) => {
                params.refuse("format", "must be json or csv".to_owned());
                false
            }
        };
        if csv && params.text("compare").is_some() {
            params.refuse("compare", "is for JSON: a file of CSV has one range".to_owned());
        }
        self.read(params, Kind::InvalidParameter, csv)
    }

    /// The parameters, wherever they came from; `kind` is what is wrong where one cannot be accepted.
    pub(crate) fn read(&self, mut params: Params<'_>, kind: Kind, csv: bool) -> Result<Asked, Problem> {
        let mut time = |name: &'static str| {
            if params.text(name).is_none() {
                params.refuse(name, "is missing".to_owned());
            }
            params.read::<LocalTime>(name)
        };
        let (from, to) = (time("from"), time("to"));
        if to.is_some_and(|to| to.unix_ms > self.clock.now_ms() + AHEAD_MS) {
            params.refuse("to", "must be at most five minutes in the future".to_owned());
        }
        let group_by = params.text("group_by").unwrap_or_default().parse::<GroupBy>();
        let query = MetricsQuery {
            granularity: params.read("granularity").unwrap_or(Granularity::Hour),
            group_by: *group_by.as_ref().unwrap_or(&GroupBy::None),
            window: params.read("window"),
            time_zone: params.text("tz").unwrap_or("UTC").to_owned(),
            filter: CellFilter {
                devices: params.read("device"),
                countries: params.read("country"),
            },
            metrics: params.read("metrics"),
            order: params.read("order"),
            compare: params.read("compare"),
            limit: params.number("limit", 1, MAX_ROWS),
            cursor: params.text("cursor").map(str::to_owned),
            ..MetricsQuery::over(
                Entity::Total,
                from.map_or(0, |from| from.unix_ms),
                to.map_or(0, |to| to.unix_ms),
            )
        };
        params.finish_as(kind)?;
        if let Err(unsupported) = group_by {
            return Err(problem(QueryError::UnsupportedBreakdown(unsupported), kind));
        }
        Ok(Asked { query, csv })
    }

    /// What is asked, of one entity.
    pub(crate) async fn question(&self, asked: &Asked, entity: Entity) -> Result<MetricsQuery, Problem> {
        let ads = match asked.query.group_by {
            GroupBy::Ad => self.ads_of(entity).await?,
            _ => Vec::new(),
        };
        Ok(MetricsQuery {
            entity,
            ads,
            ..asked.query.clone()
        })
    }
}

/// Why there is no answer; `kind` is what is wrong where a parameter cannot be accepted.
pub(crate) fn problem(error: QueryError, kind: Kind) -> Problem {
    match error {
        QueryError::InvalidParameters(invalid) => {
            let errors = invalid.into_iter();
            let errors = errors.map(|error| FieldError::new(error.parameter, error.reason));
            Problem::of(kind, errors.collect())
        }
        QueryError::RangeTooLarge { .. }
        | QueryError::TooManyMembers { .. }
        | QueryError::TooManyMemberDays { .. } => Problem::new(Kind::RangeTooLarge, error.to_string()),
        QueryError::UnsupportedBreakdown(_) => Problem::new(Kind::UnsupportedBreakdown, error.to_string()),
        QueryError::Store(error) => error.into(),
    }
}
