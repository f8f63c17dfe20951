//! Single clicks in a query's result.

use std::str::FromStr;

use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::record::CountedClick;
use clickledger_core::ports::{LakeClick, PortResult};
use csv::StringRecord;

use crate::failure::damaged;

/// A field that may be empty: null.
pub(super) fn optional<T: FromStr>(row: &StringRecord, place: usize, name: &str) -> PortResult<Option<T>> {
    match row.get(place) {
        None => Err(damaged(name)),
        Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| damaged(name)),
    }
}

/// A field that must be there.
pub(super) fn field<T: FromStr>(row: &StringRecord, place: usize, name: &str) -> PortResult<T> {
    optional(row, place, name)?.ok_or_else(|| damaged(name))
}

/// The device of this field.
pub(super) fn device(row: &StringRecord, place: usize) -> PortResult<Device> {
    let text = row.get(place).unwrap_or_default();
    Device::ALL
        .into_iter()
        .find(|device| device.as_str() == text)
        .ok_or_else(|| damaged("device"))
}

/// The columns of `clicks.sql` and `orphaned.sql`.
pub(super) fn click(row: &StringRecord) -> PortResult<LakeClick> {
    let claimed = match row.get(8) {
        Some("true" | "True") => true,
        Some("false" | "False") => false,
        _ => return Err(damaged("claimed")),
    };
    Ok(LakeClick {
        click: CountedClick {
            click_id: field(row, 0, "click_id")?,
            impression_id: optional(row, 1, "impression_id")?,
            ad_id: field(row, 2, "ad_id")?,
            campaign_id: field(row, 3, "campaign_id")?,
            advertiser_id: field(row, 4, "advertiser_id")?,
            placement_id: optional(row, 5, "placement_id")?,
            clicked_at_ms: field(row, 6, "clicked_at_ms")?,
            verdict: field(row, 7, "verdict")?,
            claimed,
            device: device(row, 9)?,
            country: field::<Country>(row, 10, "country")?,
        },
        duplicate_of: optional(row, 11, "duplicate_of")?,
    })
}
