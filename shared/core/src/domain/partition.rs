//! What orders a click on the stream: `<ad_id>#<salt>`, or `x#<click_id>` for a click without a valid token.
//!
//! Invariant: the key is computed once, stored in the record and never recomputed; every copy of a record thus comes
//! to the same shard (or its descendants) in order, also while the ad's fan-out changes.

use super::ids::{AdId, ClickId, ImpressionId};

/// The partition key of a click with a valid token. `fan_out` is a power of two.
///
/// The hash is the impression id's own low 64 bits: 62 of them are random (UUIDv7), and since the id is signed, nobody
/// outside can choose them.
pub fn of_impression(ad_id: AdId, impression_id: ImpressionId, fan_out: u32) -> String {
    let salt = (impression_id.0 as u64) % u64::from(fan_out.max(1));
    format!("{ad_id}#{salt}")
}

/// The partition key of a click without a valid token: never the ad's, so that forged traffic cannot jam its shard.
pub fn of_click(click_id: ClickId) -> String {
    format!("x#{click_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salts_spread_evenly_and_nest_when_the_fan_out_doubles() {
        let mut hits = [0_u32; 4];
        for i in 0_u32..4000 {
            let random = std::array::from_fn(|k| (i.wrapping_mul(2_654_435_761) >> (k % 4 * 8)) as u8);
            let id = ImpressionId::new(0, random);
            let four = of_impression(AdId(7), id, 4);
            let salt: usize = four.strip_prefix("7#").unwrap().parse().unwrap();
            hits[salt] += 1;
            assert_eq!(of_impression(AdId(7), id, 2), format!("7#{}", salt % 2));
            assert_eq!(of_impression(AdId(7), id, 1), "7#0");
        }
        assert!(hits.iter().all(|n| (800..1200).contains(n)), "{hits:?}");
    }
}
