//! The stored form of a group's writes of partials: one after another, each as its key, its watermark and what it adds.
//!
//! All numbers are LEB128 varints: kind, id, minute, shard, watermark, how many counters, and for each counter its packed
//! name and count.

use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::time::Minute;

use crate::failure::Damaged;
use crate::hot::Key;
use clickledger_core::domain::packed::{put, take};

/// Adds one write.
pub(crate) fn push(log: &mut Vec<u8>, key: &Key, last: i64, delta: &Counters) {
    for number in [key.row.kind, key.row.id, key.minute().0, key.row.shard, last] {
        put(log, number.cast_unsigned());
    }
    put(log, delta.len() as u64);
    for (counter, count) in delta.iter() {
        put(log, counter.to_u16().into());
        put(log, count);
    }
}

/// The writes of a row, in order.
pub(crate) struct Writes<'a>(pub(crate) &'a [u8]);

impl Writes<'_> {
    fn write(&mut self) -> Result<(Key, i64, Counters), Damaged> {
        let bytes = &mut self.0;
        let mut number = || Ok::<_, Damaged>(take(bytes)?.cast_signed());
        let entity = (number()?, number()?);
        let key = Key::new(entity, Minute(number()?), number()?);
        let (last, count) = (number()?, number()?);
        let mut delta = Counters::default();
        for _ in 0..count {
            let counter = u16::try_from(take(bytes)?).ok().and_then(CounterKey::from_u16);
            delta.add(counter.ok_or(Damaged("log of partials"))?, take(bytes)?);
        }
        Ok((key, last, delta))
    }
}

impl Iterator for Writes<'_> {
    type Item = Result<(Key, i64, Counters), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let write = self.write();
        if write.is_err() {
            self.0 = &[];
        }
        Some(write)
    }
}
