//! `/v1/reconciliations`: what sealing found in each hour and what it corrected.
//!
//! Invariant: only administrators see hours as a whole; an advertiser sees the corrections of what is its own,
//! and another's look as those that do not exist.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::correction::Correction;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::time::{DAY_MS, HOUR_MS, Hour, Minute};
use clickledger_core::ports::{AdFilter, Clock, PortResult};
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::LocalTime;
use clickledger_core::service::reconciliations::{CorrectionPlace, ReconciliationsService};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Administrator, Api, Caller};
use crate::config::EdgeConfig;
use crate::params::{Params, PathId, page};
use crate::problem::{Problem, ProblemDocument};
use crate::reconciliations_schema::{CorrectionList, CorrectionView, ReportList, ReportView};
use crate::restatements::Restatements;

/// How far back reports are listed, if nothing is said.
const LISTED_MS: i64 = 7 * DAY_MS;
/// Corrections of one read, and how many reads one request may cost: an advertiser's may lie far apart.
const READ: usize = 1000;
const READS: usize = 8;

#[derive(Clone)]
pub(crate) struct Reconciliations {
    pub(crate) found: ReconciliationsService,
    pub(crate) restatements: Arc<dyn Restatements>,
    pub(crate) ads: Arc<AdsService>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Reports, corrections, restatements.
pub fn reconciliations_router(
    found: ReconciliationsService,
    restatements: Arc<dyn Restatements>,
    ads: Arc<AdsService>,
    keys: Arc<KeysService>,
    clock: Arc<dyn Clock>,
    config: Arc<EdgeConfig>,
) -> OpenApiRouter {
    let of = Reconciliations {
        found,
        restatements,
        ads,
        clock,
    };
    routes().with_state(Api { of, keys, config })
}

fn routes() -> OpenApiRouter<Api<Reconciliations>> {
    OpenApiRouter::new()
        .routes(routes!(list, crate::restatements::restate))
        .routes(routes!(corrections))
        .routes(routes!(crate::corrections::of_range))
}

/// What the routes say about themselves.
pub(crate) fn described() -> OpenApi {
    routes().into_openapi()
}

/// Where a list of reports goes on.
struct ReportPlace(Hour, i64);

impl FromStr for ReportPlace {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (hour, at_ms) = text.split_once('.').ok_or(())?;
        let place = Self(Hour(hour.parse().map_err(drop)?), at_ms.parse().map_err(drop)?);
        // One text for one place.
        (place.to_string() == text).then_some(place).ok_or(())
    }
}

impl fmt::Display for ReportPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.0, self.1)
    }
}

/// What sealing found, hour by hour: the reports of hours in the order of time.
#[utoipa::path(get, path = "/v1/reconciliations", tag = "reconciliations", operation_id = "list_reconciliations", security(("key" = [])),
    params(
        ("from" = Option<String>, Query, description = "From which hour on, RFC 3339; seven days before `to` if nothing is said"),
        ("to" = Option<String>, Query, description = "Until which hour, exclusive; now if nothing is said"),
        ("limit" = Option<u32>, Query, description = "Most rows, 1 to 1000; 100 if nothing is said"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses(
        (status = 200, body = ReportList, description = "A page"),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
    ))]
async fn list(
    _: Administrator,
    State(api): State<Api<Reconciliations>>,
    RawQuery(query): RawQuery,
) -> Result<Json<ReportList>, Problem> {
    let mut params = Params::new(query.as_deref(), &["from", "to", "limit", "cursor"]);
    let to_ms = params.read::<LocalTime>("to").map(|to| to.unix_ms);
    let to_ms = to_ms.unwrap_or_else(|| api.of.clock.now_ms());
    let from_ms = params.read::<LocalTime>("from").map(|from| from.unix_ms);
    let from_ms = from_ms.unwrap_or(to_ms.saturating_sub(LISTED_MS));
    if from_ms >= to_ms {
        params.refuse("to", "must be after from".to_owned());
    }
    let (limit, after) = (params.list_rows(), params.list_cursor::<ReportPlace>());
    params.finish()?;
    // Hours that the range touches.
    let (from, to) = (Hour::of(from_ms), Hour(Hour::of(to_ms - 1).0 + 1));
    let after = after.map(|ReportPlace(hour, at_ms)| (hour, at_ms));
    let found = api.of.found.reports(from, to, after, limit + 1).await?;
    let (reports, next_cursor) = page(found, limit, |report| {
        ReportPlace(report.hour, report.at_ms).to_string()
    });
    Ok(Json(ReportList {
        items: reports.into_iter().map(ReportView::from).collect(),
        next_cursor,
    }))
}

/// An hour by its beginning.
struct HourName(Hour);

impl FromStr for HourName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.parse::<LocalTime>().map_err(|error| error.to_string())?;
        if at.unix_ms % HOUR_MS != 0 {
            return Err("must be the beginning of an hour, such as 2026-01-02T00:00:00Z".to_owned());
        }
        Ok(Self(Hour::of(at.unix_ms)))
    }
}

/// Where a list of corrections goes on.
pub(crate) struct CorrectionCursor(pub(crate) CorrectionPlace);

impl FromStr for CorrectionCursor {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().ok_or(());
        let (version, minute, entity) = (next()?, next()?, next()?.replacen('.', "#", 1));
        let place = (
            version.parse().map_err(drop)?,
            entity.parse().map_err(drop)?,
            Minute(minute.parse().map_err(drop)?),
        );
        (Self(place).to_string() == text).then_some(Self(place)).ok_or(())
    }
}

impl fmt::Display for CorrectionCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, entity, minute) = self.0;
        write!(
            f,
            "{version}.{}.{}",
            minute.0,
            entity.to_string().replace('#', ".")
        )
    }
}

/// What sealing corrected in an hour: an administrator sees all, an advertiser what is its own.
#[utoipa::path(get, path = "/v1/reconciliations/{hour}/corrections", tag = "reconciliations", operation_id = "hour_corrections", security(("key" = [])),
    params(
        ("hour" = String, Path, description = "The hour's beginning, RFC 3339", example = "2026-01-02T00:00:00Z"),
        ("limit" = Option<u32>, Query, description = "Most rows, 1 to 1000; 100 if nothing is said. A page may have fewer also where there are more"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses(
        (status = 200, body = CorrectionList, description = "A page"),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
    ))]
async fn corrections(
    caller: Caller,
    State(api): State<Api<Reconciliations>>,
    PathId(HourName(hour)): PathId<HourName>,
    RawQuery(query): RawQuery,
) -> Result<Json<CorrectionList>, Problem> {
    caller.must_not_be_publisher("corrections are for advertisers and administrators")?;
    let mut params = Params::new(query.as_deref(), &["limit", "cursor"]);
    let (limit, after) = (params.list_rows(), params.list_cursor::<CorrectionCursor>());
    params.finish()?;
    let mut after = after.map(|CorrectionCursor(place)| place);
    let seen = Seen::by(caller.scope(), &api.of.ads).await?;
    let mut items: Vec<Correction> = Vec::new();
    for _ in 0..READS {
        let (found, next) = api.of.found.corrections(hour, after, READ).await?;
        let mut found = found.into_iter();
        for correction in found.by_ref() {
            if seen.sees(correction.entity) {
                items.push(correction);
                if items.len() == limit {
                    break;
                }
            }
        }
        if items.len() == limit {
            let last = items.last().map(|last| (last.version, last.entity, last.minute));
            after = last.filter(|_| next.is_some() || found.len() > 0);
            break;
        }
        after = next.and_then(|next| seen.place(next));
        if after.is_none() {
            break;
        }
    }
    Ok(Json(CorrectionList {
        items: items.iter().map(CorrectionView::from).collect(),
        next_cursor: after.map(|place| CorrectionCursor(place).to_string()),
    }))
}

/// Whose corrections a caller is shown.
pub(crate) enum Seen {
    /// Everybody's.
    All,
    /// Those of these.
    Of(BTreeSet<Entity>),
}

impl Seen {
    /// All that the caller may see.
    pub(crate) async fn by(by: &Scope, ads: &AdsService) -> PortResult<Self> {
        let own = match by {
            Scope::Admin => return Ok(Self::All),
            Scope::Publisher { .. } => return Ok(Self::Of(BTreeSet::new())),
            Scope::Advertiser { advertiser_id, .. } => *advertiser_id,
        };
        let (mut of, mut after) = (BTreeSet::from([Entity::Advertiser(own)]), None);
        loop {
            let page = ads.list(by, AdFilter::default(), true, after, READ).await?;
            after = page.last().map(|ad| ad.ad_id);
            for ad in &page {
                of.insert(Entity::Ad(ad.ad_id));
                of.insert(Entity::Campaign(ad.campaign_id));
            }
            if page.len() < READ {
                return Ok(Self::Of(of));
            }
        }
    }

    /// This one's, if the caller may see it.
    pub(crate) async fn only(by: &Scope, ads: &AdsService, wanted: Entity) -> PortResult<Self> {
        let may = match (by, wanted) {
            (Scope::Admin, _) => true,
            (Scope::Publisher { .. }, _) => false,
            (Scope::Advertiser { .. }, Entity::Ad(ad_id)) => ads.get(by, ad_id).await?.is_some(),
            (Scope::Advertiser { advertiser_id, .. }, Entity::Campaign(campaign_id)) => {
                ads.campaign_owner(campaign_id).await? == Some(*advertiser_id)
            }
            (Scope::Advertiser { advertiser_id, .. }, Entity::Advertiser(asked)) => asked == *advertiser_id,
            (
                Scope::Advertiser { .. },
                Entity::Placement(_) | Entity::Total | Entity::AdvertiserPlacement(..),
            ) => false,
        };
        Ok(Self::Of(may.then_some(wanted).into_iter().collect()))
    }

    pub(crate) fn sees(&self, entity: Entity) -> bool {
        match self {
            Self::All => true,
            Self::Of(some) => some.contains(&entity),
        }
    }

    /// A place behind which the same of these corrections lie as behind this one, and that names nobody else: it may be told.
    pub(crate) fn place(&self, place: CorrectionPlace) -> Option<CorrectionPlace> {
        let (version, entity, _) = place;
        let Self::Of(some) = self else {
            return Some(place);
        };
        match some.range(entity..).next() {
            Some(own) if *own == entity => Some(place),
            Some(own) => Some((version, *own, Minute(0))),
            None => some
                .first()
                .map(|first| (version.saturating_add(1), *first, Minute(0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use clickledger_core::domain::ids::AdId;

    use super::*;

    #[test]
    fn a_place_has_one_text() {
        for entity in [Entity::Ad(AdId(7)), Entity::Total] {
            let text = CorrectionCursor((3, entity, Minute(29_455_200))).to_string();
            let read = text.parse::<CorrectionCursor>().map(|cursor| cursor.0);
            assert_eq!(read, Ok((3, entity, Minute(29_455_200))));
        }
        for bad in [
            "", "3", "3.5", "3.5.", "3.5.x.7", "03.5.t", "+3.5.t", "3.5.a#7", "3.5.a.07", "3.5.t.1",
        ] {
            assert!(bad.parse::<CorrectionCursor>().is_err(), "{bad:?}");
        }
        assert!("490896.1767312121000".parse::<ReportPlace>().is_ok());
        for bad in [
            "",
            ".",
            "1",
            "1.",
            "1.2.3",
            "+1.2",
            "1.02",
            "99999999999999999999.1",
        ] {
            assert!(bad.parse::<ReportPlace>().is_err(), "{bad:?}");
        }
    }
}
