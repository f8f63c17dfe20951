//! What is stored in the end, read as it lies there: the tables item by item, the bucket object by object.
//!
//! Invariant: nothing is left out: an item of another shape than `docs/DATA_MODEL.md` says is a panic.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use clickledger_aws::Resource;
use clickledger_core::domain::ids::{ClickId, ImpressionId};

use crate::resources::Account;
use crate::truth::{Buckets, Place};

type Item = HashMap<String, AttributeValue>;

/// All items of a table.
async fn items(account: &Account, table: &str) -> Vec<Item> {
    let (mut items, mut from) = (Vec::new(), None);
    loop {
        let scan = account.aws.dynamodb().scan().table_name(table);
        let page = scan
            .consistent_read(true)
            .set_exclusive_start_key(from)
            .send()
            .await
            .unwrap();
        items.extend(page.items.unwrap_or_default());
        from = page.last_evaluated_key;
        if from.is_none() {
            return items;
        }
    }
}

fn text<'i>(item: &'i Item, name: &str) -> &'i str {
    item[name].as_s().unwrap()
}

fn id(item: &Item, name: &str) -> [u8; 16] {
    item[name].as_b().unwrap().as_ref().try_into().unwrap()
}

/// Days since 1970 of `yyyymmdd` (H. Hinnant's `days_from_civil`).
fn day(yyyymmdd: &str) -> i64 {
    let number: i64 = yyyymmdd.parse().unwrap();
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The partials, added up over shards.
pub(crate) async fn buckets(account: &Account) -> Buckets {
    let mut buckets = Buckets::new();
    for item in items(account, "buckets").await {
        let (entity, date) = text(&item, "pk").rsplit_once('#').unwrap();
        let minute = text(&item, "sk").strip_prefix("p#").unwrap();
        let hhmm: i64 = minute[..4].parse().unwrap();
        let minute = day(date) * 1_440 + hhmm / 100 * 60 + hhmm % 100;
        let mut counts = item
            .iter()
            .filter(|(name, _)| !["pk", "sk", "w", "expires"].contains(&name.as_str()))
            .peekable();
        // A partial that only repeats have touched counts nothing.
        if counts.peek().is_none() {
            continue;
        }
        let bucket = buckets.entry((entity.to_owned(), minute)).or_default();
        for (name, count) in counts {
            let count: u64 = count.as_n().unwrap().parse().unwrap();
            *bucket.entry(name.clone()).or_default() += count;
        }
    }
    buckets
}

/// Who owns each impression.
pub(crate) async fn owners(account: &Account) -> HashMap<ImpressionId, ClickId> {
    let items = items(account, "claims").await;
    let owner = |item: &Item| {
        let impression_id = ImpressionId::from_bytes(id(item, "impression_id"));
        (impression_id, ClickId::from_bytes(id(item, "click_id")))
    };
    items.iter().map(owner).collect()
}

/// The hours that are marked, since 1970. Nobody seals here: nothing else is in this table.
pub(crate) async fn dirty(account: &Account) -> BTreeSet<i64> {
    let mut dirty = BTreeSet::new();
    for item in items(account, "hours").await {
        let number = |name: &str| item[name].as_n().unwrap().parse::<i64>().unwrap();
        assert!(number("marks") > 0, "{item:?}");
        let (month, hour) = (text(&item, "pk"), text(&item, "sk"));
        let of_keys = day(&format!("{month}{}", &hour[..2])) * 24 + hour[2..].parse::<i64>().unwrap();
        assert_eq!(number("n"), of_keys, "{item:?}");
        dirty.insert(of_keys);
    }
    dirty
}

/// What lies in the quarantine: `quarantine/dt=…/<shard>/<sequence number>-<mark>.json`.
pub(crate) async fn quarantined(account: &Account) -> BTreeSet<Place> {
    let (mut places, mut from) = (BTreeSet::new(), None);
    loop {
        let list = account
            .aws
            .s3()
            .list_objects_v2()
            .bucket(account.name(Resource::Bucket));
        let page = list.set_continuation_token(from).send().await.unwrap();
        for key in page.contents().iter().filter_map(|object| object.key()) {
            let mut parts = key.rsplit('/');
            let (number, shard) = (parts.next().unwrap(), parts.next().unwrap());
            let number = number.split_once('-').unwrap().0;
            places.insert((shard.to_owned(), number.to_owned()));
        }
        from = page.next_continuation_token;
        if from.is_none() {
            return places;
        }
    }
}

#[test]
fn days_are_counted_from_1970() {
    for (date, number) in [("19700101", 0), ("20000229", 11_016), ("20260102", 20_455)] {
        assert_eq!(day(date), number, "{date}");
    }
}
