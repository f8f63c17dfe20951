//! `/v1/corrections`: what sealing corrected in a range of time, for those who want to know what became of their counts.
//!
//! Invariant: as of one hour's corrections: an advertiser sees what is its own, and another's look as those that do not exist.

use std::fmt;
use std::str::FromStr;

use axum::Json;
use axum::extract::{RawQuery, State};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId};
use clickledger_core::domain::time::{DAY_MS, Hour};
use clickledger_core::service::metrics::LocalTime;

use crate::auth::{Api, Caller};
use crate::params::Params;
use crate::problem::{Kind, Problem, ProblemDocument};
use crate::reconciliations::{CorrectionCursor, Reconciliations, Seen};
use crate::reconciliations_schema::{CorrectionList, CorrectionView};

/// Longest range, milliseconds.
const LONGEST_MS: i64 = 366 * DAY_MS;
/// Corrections of one read, and how many reads one request may cost.
const READ: usize = 1000;
const READS: usize = 32;
const KNOWN: [&str; 6] = ["from", "to", "entity", "id", "limit", "cursor"];

/// Where a list goes on: at an hour, after one of its corrections.
struct Place(Hour, Option<CorrectionCursor>);

impl FromStr for Place {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (hour, after) = text.split_once('.').ok_or(())?;
        let after = match after {
            "" => None,
            after => Some(after.parse()?),
        };
        let place = Self(Hour(hour.parse().map_err(drop)?), after);
        // One text for one place.
        (place.to_string() == text).then_some(place).ok_or(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.0.0)?;
        self.1.as_ref().map_or(Ok(()), |after| after.fmt(f))
    }
}

/// What sealing corrected in a range of time, hour by hour: an administrator sees all, an advertiser what is its own.
#[utoipa::path(get, path = "/v1/corrections", tag = "reconciliations", operation_id = "list_corrections", security(("key" = [])),
    params(
        ("from" = String, Query, description = "From which hour on, RFC 3339", example = "2026-01-01T00:00:00Z"),
        ("to" = String, Query, description = "Until which hour, exclusive; 366 days after `from` at most", example = "2026-02-01T00:00:00Z"),
        ("entity" = Option<String>, Query, description = "Only those of this entity: `ad`, `campaign`, `advertiser`, `placement` or `total`"),
        ("id" = Option<String>, Query, description = "Its id; not for `total`"),
        ("limit" = Option<u32>, Query, description = "Most rows, 1 to 1000; 100 if nothing is said. A page may have fewer also where there are more"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses(
        (status = 200, body = CorrectionList, description = "A page"),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused; 422 for too long a range"),
    ))]
pub(crate) async fn of_range(
    caller: Caller,
    State(api): State<Api<Reconciliations>>,
    RawQuery(query): RawQuery,
) -> Result<Json<CorrectionList>, Problem> {
    caller.must_not_be_publisher("corrections are for advertisers and administrators")?;
    let mut params = Params::new(query.as_deref(), &KNOWN);
    let mut time = |name: &'static str| {
        if params.text(name).is_none() {
            params.refuse(name, "is missing".to_owned());
        }
        params.read::<LocalTime>(name).map_or(0, |at| at.unix_ms)
    };
    let (from_ms, to_ms) = (time("from"), time("to"));
    if from_ms >= to_ms {
        params.refuse("to", "must be after from".to_owned());
    }
    let wanted = entity(&mut params);
    let (limit, place) = (params.list_rows(), params.list_cursor::<Place>());
    params.finish()?;
    if to_ms - from_ms > LONGEST_MS {
        let detail = "corrections are listed for 366 days at most";
        return Err(Problem::new(Kind::RangeTooLarge, detail));
    }

    let place = place.unwrap_or(Place(Hour::of(from_ms), None));
    let (mut hour, mut after) = (place.0, place.1.map(|CorrectionCursor(after)| after));
    let to = Hour(Hour::of(to_ms - 1).0 + 1);
    let hours = api
        .of
        .found
        .corrected_hours(hour.max(Hour::of(from_ms)), to)
        .await?;
    let seen = match wanted {
        Some(wanted) => Seen::only(caller.scope(), &api.of.ads, wanted).await?,
        None => Seen::by(caller.scope(), &api.of.ads).await?,
    };
    let mut items = Vec::new();
    let mut reads = 0;
    let mut next = None;
    'hours: for corrected in hours {
        if corrected != hour {
            (hour, after) = (corrected, None);
        }
        loop {
            if reads == READS {
                next = Some(Place(hour, after.map(CorrectionCursor)));
                break 'hours;
            }
            reads += 1;
            let (found, further) = api.of.found.corrections(hour, after, READ).await?;
            for correction in found {
                if !seen.sees(correction.entity) {
                    continue;
                }
                if items.len() == limit {
                    // There is this one more.
                    next = Some(Place(hour, after.map(CorrectionCursor)));
                    break 'hours;
                }
                after = Some((correction.version, correction.entity, correction.minute));
                items.push(correction);
            }
            match further.and_then(|further| seen.place(further)) {
                Some(further) => after = Some(further),
                None => break,
            }
        }
    }
    Ok(Json(CorrectionList {
        items: items.iter().map(CorrectionView::from).collect(),
        next_cursor: next.map(|place| place.to_string()),
    }))
}

/// Whose corrections are asked for, if not everybody's.
fn entity(params: &mut Params<'_>) -> Option<Entity> {
    let kind = params.text("entity").map(str::to_owned);
    let has_id = params.text("id").is_some();
    match (kind.as_deref(), has_id) {
        (None, false) => None,
        (None, true) => {
            params.refuse("entity", "is missing: whose id is it?".to_owned());
            None
        }
        (Some("total"), false) => Some(Entity::Total),
        (Some("total"), true) => {
            params.refuse("id", "is not for total".to_owned());
            None
        }
        (Some("ad" | "campaign" | "advertiser" | "placement"), false) => {
            params.refuse("id", "is missing".to_owned());
            None
        }
        (Some("ad"), true) => params.read::<AdId>("id").map(Entity::Ad),
        (Some("campaign"), true) => params.read::<CampaignId>("id").map(Entity::Campaign),
        (Some("advertiser"), true) => params.read::<AdvertiserId>("id").map(Entity::Advertiser),
        (Some("placement"), true) => params.read::<PlacementId>("id").map(Entity::Placement),
        (Some(_), _) => {
            let one_of = "must be ad, campaign, advertiser, placement or total";
            params.refuse("entity", one_of.to_owned());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use clickledger_core::domain::time::Minute;

    use super::*;

    #[test]
    fn a_place_has_one_text() {
        let inside = (3, Entity::Ad(AdId(7)), Minute(29_455_200));
        for after in [None, Some(inside)] {
            let text = Place(Hour(490_920), after.map(CorrectionCursor)).to_string();
            let read = text
                .parse::<Place>()
                .map(|place| (place.0, place.1.map(|after| after.0)));
            assert_eq!(read, Ok((Hour(490_920), after)), "{text}");
        }
        for bad in [
            "",
            "1",
            ".",
            "x.",
            "01.",
            "1.x",
            "1.3.5",
            "+1.",
            "1.3.29455200.a#7",
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad:?}");
        }
    }
}
