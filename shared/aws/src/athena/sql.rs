//! The statements of `infra/athena`, filled in.
//!
//! Invariant: nothing but numbers, dates, ids (22 characters of base64url) and places of ours is ever filled in: no text of a
//! user's.

use std::ops::Range;

use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::LakeSlice;

use crate::calendar::Day;

pub(super) const RECOUNT: &str = include_str!("../../../../infra/athena/recount.sql");
pub(super) const CLICKS: &str = include_str!("../../../../infra/athena/clicks.sql");
pub(super) const ORPHANED: &str = include_str!("../../../../infra/athena/orphaned.sql");
pub(super) const CLICKED_HOURS: &str = include_str!("../../../../infra/athena/clicked_hours.sql");
pub(super) const HEARTBEATS: &str = include_str!("../../../../infra/athena/heartbeats.sql");
pub(super) const PRESENT: &str = include_str!("../../../../infra/athena/present.sql");
pub(super) const COMPACT: &str = include_str!("../../../../infra/athena/compact.sql");
pub(super) const HELD: &str = include_str!("../../../../infra/athena/held.sql");
const COUNTED: &str = include_str!("../../../../infra/athena/counted.sql");

/// The table of the objects, and of the days that are Parquet.
pub(super) const OBJECTS: &str = "clicks";
pub(super) const HISTORY: &str = "clicks_history";
/// What the statements read of a click or heartbeat, in either table.
const COLUMNS: &str = "v, click_id, impression_id, ad_id, campaign_id, advertiser_id, placement_id, clicked_at_ms, verdict, \
     duplicate_of, claimed, device, country, heartbeat, dt, hr";

/// base64url's characters in the order of what they mean, and as many in ASCII's order.
const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const IN_ORDER: &str = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

/// `yyyy-mm-dd` and `hh`.
pub(super) fn partition(hour: Hour) -> (String, String) {
    let day = Day::of_number(hour.0.div_euclid(24)).dashed();
    (day, format!("{:02}", hour.0.rem_euclid(24)))
}

/// The condition of these arrival partitions. The dates stand there by themselves too: by them partitions are projected.
pub(super) fn partitions(arrivals: &Range<Hour>) -> String {
    if arrivals.start >= arrivals.end {
        return "1 = 0".to_owned();
    }
    let ((first, from), (last, to)) = (partition(arrivals.start), partition(Hour(arrivals.end.0 - 1)));
    format!(
        "(dt BETWEEN '{first}' AND '{last}' AND (dt > '{first}' OR hr >= '{from}') AND (dt < '{last}' OR hr <= '{to}'))"
    )
}

/// What the clicks of these partitions are read from: the objects, except for the days (`yyyy-mm-dd`) that are Parquet.
pub(super) fn source(partitions: &str, compacted: &[String]) -> String {
    if compacted.is_empty() {
        return OBJECTS.to_owned();
    }
    let days: Vec<String> = compacted.iter().map(|day| format!("'{day}'")).collect();
    let days = days.join(", ");
    format!(
        "(\n    SELECT {COLUMNS} FROM {OBJECTS} WHERE {partitions} AND dt NOT IN ({days})\n    UNION ALL\n    \
         SELECT {COLUMNS} FROM {HISTORY} WHERE {partitions} AND dt IN ({days})\n) AS both_forms"
    )
}

/// Ids as a list.
pub(super) fn list(ids: &[ClickId]) -> String {
    let quoted: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    quoted.join(", ")
}

/// The condition of an id behind this one, in the order of bytes.
pub(super) fn behind(after: Option<ClickId>) -> String {
    after.map_or_else(
        || "1 = 1".to_owned(),
        |after| {
            let place = |c: char| ALPHABET.find(c).and_then(|place| IN_ORDER.as_bytes().get(place));
            let key: String = after
                .to_string()
                .chars()
                .filter_map(place)
                .map(|byte| char::from(*byte))
                .collect();
            format!("{} > '{key}'", order())
        },
    )
}

/// What ids are ordered by.
pub(super) fn order() -> String {
    format!("translate(click_id, '{ALPHABET}', '{IN_ORDER}')")
}

/// A statement with its places filled in.
pub(super) fn fill(statement: &str, places: &[(&str, &str)]) -> String {
    let lines: Vec<&str> = statement
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    let mut filled = lines.join("\n");
    for (place, value) in places {
        filled = filled.replace(&format!("{{{place}}}"), value);
    }
    filled
}

/// What every statement about clicks needs; these days are Parquet.
pub(super) fn of_clicks(
    statement: &str,
    slice: &LakeSlice,
    compacted: &[String],
    places: &[(&str, &str)],
) -> String {
    let partitions = partitions(&slice.arrivals);
    let clicks = source(&partitions, compacted);
    let (from_ms, to_ms) = slice
        .clicked
        .map_or((0, i64::MAX), |hour| (hour.start_ms(), hour.end_ms()));
    let counted = fill(COUNTED, &[]);
    let common = [
        ("clicks", clicks.as_str()),
        ("partitions", partitions.as_str()),
        ("counted", counted.as_str()),
        ("from_ms", &from_ms.to_string()),
        ("to_ms", &to_ms.to_string()),
    ];
    fill(&fill(statement, places), &common)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_bounded_on_both_sides_also_over_midnight() {
        let hour = Hour::of(1_767_312_000_000); // 2026-01-02T00
        assert_eq!(
            partitions(&(Hour(hour.0 - 1)..Hour(hour.0 + 2))),
            "(dt BETWEEN '2026-01-01' AND '2026-01-02' AND (dt > '2026-01-01' OR hr >= '23') AND (dt < '2026-01-02' OR hr <= '01'))"
        );
        assert_eq!(partitions(&(hour..hour)), "1 = 0");
    }

    #[test]
    fn the_order_of_translated_ids_is_that_of_their_bytes() {
        let translated = |id: ClickId| behind(Some(id));
        let mut ids: Vec<ClickId> = (0..200_u128)
            .map(|n| ClickId(n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)))
            .collect();
        ids.sort_unstable();
        assert!(
            ids.windows(2)
                .all(|pair| translated(pair[0]) < translated(pair[1]))
        );
        let mut sorted: Vec<u8> = ALPHABET.bytes().collect();
        sorted.sort_unstable();
        assert_eq!(sorted, IN_ORDER.as_bytes());
    }

    #[test]
    fn every_place_of_every_statement_is_filled() {
        let hour = Hour(490_920);
        let slice = LakeSlice {
            arrivals: hour..Hour(hour.0 + 1),
            clicked: Some(hour),
        };
        let places = [
            ("which", "1 = 1"),
            ("order", "click_id"),
            ("limit", "1"),
            ("ids", "'x'"),
            ("owner_clicks", "clicks"),
            ("owner_partitions", "1 = 1"),
        ];
        for statement in [RECOUNT, CLICKS, ORPHANED, CLICKED_HOURS, HEARTBEATS, PRESENT] {
            for compacted in [&[][..], &["2026-01-01".to_owned()]] {
                let sql = of_clicks(statement, &slice, compacted, &places);
                assert!(!sql.contains(['{', '}']), "{sql}");
                assert!(!sql.contains("--"), "{sql}");
                assert_eq!(sql.contains(HISTORY), !compacted.is_empty(), "{sql}");
            }
        }
        let day = [
            ("day", "2026-01-01"),
            ("location", "s3://b/x/"),
            ("form", HISTORY),
        ];
        for statement in [COMPACT, HELD] {
            let sql = fill(statement, &day);
            assert!(!sql.contains(['{', '}']) && !sql.contains("--"), "{sql}");
        }
    }
}
