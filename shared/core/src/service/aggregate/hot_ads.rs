//! Hot ads: one that has too many records a second on a shard gets more partition keys (DESIGN section 4, point 7).
//!
//! Invariant: the rate is judged by the records' own arrival times, so a backlog that is worked off fast makes no ad hot.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::domain::ad::MAX_FAN_OUT;
use crate::domain::ids::AdId;
use crate::ports::{AdCatalog, PortResult, ShardReader};

/// Over how much arrival time a rate is taken, milliseconds.
const SPAN_MS: i64 = 1000;
/// How long an ad that was doubled is left alone, milliseconds of arrival: records with the old keys are still coming.
const PAUSE_MS: i64 = 30_000;

/// Counts one shard's records by ad.
#[derive(Default)]
pub(super) struct Meter {
    since_ms: Option<i64>,
    records: HashMap<AdId, u32, FixedState>,
    doubled_ms: HashMap<AdId, i64, FixedState>,
}

impl Meter {
    /// Takes a sub-batch in, whose last record arrived at `arrival_ms`; answers the ads that are too fast.
    pub(super) fn take(
        &mut self,
        ads: impl Iterator<Item = (AdId, u32)>,
        arrivals_ms: (i64, i64),
        most_per_s: u32,
    ) -> Vec<AdId> {
        let (first_ms, last_ms) = arrivals_ms;
        let since_ms = *self.since_ms.get_or_insert(first_ms);
        for (ad_id, records) in ads {
            *self.records.entry(ad_id).or_default() += records;
        }
        let span_ms = last_ms - since_ms;
        if span_ms < SPAN_MS {
            return Vec::new();
        }
        let too_many = i64::from(most_per_s).saturating_mul(span_ms) / 1000;
        self.doubled_ms.retain(|_, at| last_ms - *at < PAUSE_MS);
        let hot: Vec<AdId> = self
            .records
            .drain()
            .filter(|(ad_id, records)| i64::from(*records) > too_many && !self.doubled_ms.contains_key(ad_id))
            .map(|(ad_id, _)| ad_id)
            .collect();
        self.since_ms = None;
        for ad_id in &hot {
            self.doubled_ms.insert(*ad_id, last_ms);
        }
        hot
    }
}

/// Doubles the ad's fan-out, unless it has as many keys as there are open shards.
pub(super) async fn double(
    catalog: &dyn AdCatalog,
    shards: &dyn ShardReader,
    ad_id: AdId,
) -> PortResult<bool> {
    let open = shards
        .shards()
        .await?
        .iter()
        .filter(|shard| !shard.closed)
        .count();
    let Some(ad) = catalog.ad(ad_id).await? else {
        return Ok(false);
    };
    let most = u32::try_from(open.next_power_of_two()).map_or(MAX_FAN_OUT, |open| open.min(MAX_FAN_OUT));
    if ad.fan_out >= most {
        return Ok(false);
    }
    catalog.raise_fan_out(ad_id, ad.fan_out, ad.fan_out * 2).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const AD: AdId = AdId(7);

    fn take(meter: &mut Meter, records: u32, from_ms: i64, to_ms: i64) -> Vec<AdId> {
        meter.take([(AD, records), (AdId(8), 1)].into_iter(), (from_ms, to_ms), 400)
    }

    #[test]
    fn an_ad_is_hot_above_the_rate_however_its_records_are_cut() {
        let mut meter = Meter::default();
        for tenth in 0..10 {
            assert!(take(&mut meter, 41, tenth * 100, tenth * 100 + 99).is_empty());
        }
        assert_eq!(take(&mut meter, 41, 1000, 1020), [AD]);
        assert_eq!(take(&mut Meter::default(), 401, 0, 1000), [AD]);
        assert!(take(&mut Meter::default(), 400, 0, 1000).is_empty());
        assert!(take(&mut Meter::default(), 4000, 0, 10_000).is_empty());
    }

    #[test]
    fn a_doubled_ad_is_left_alone_for_a_while() {
        let mut meter = Meter::default();
        assert_eq!(take(&mut meter, 5000, 0, 1000), [AD]);
        assert!(take(&mut meter, 5000, 2000, 3000).is_empty());
        assert_eq!(take(&mut meter, 5000, 31_000, 32_000), [AD]);
    }
}
