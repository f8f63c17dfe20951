//! Counters: what a bucket holds. One counter is either the valid clicks of one device × country cell, or the
//! clicks of one invalid verdict.

use std::fmt;
use std::str::FromStr;

use super::country::Country;
use super::device::Device;
use super::verdict::Verdict;

/// The name of one counter, packed in 16 bits: for a cell the device in bits 8–10 and the country's place in bits 0–7;
/// for an invalid verdict bit 15 and the verdict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey(u16);

const INVALID: u16 = 0x8000;

/// What a [`CounterKey`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// Valid clicks of this cell.
    Cell(Device, Country),
    /// Clicks of this invalid verdict.
    Invalid(Verdict),
}

impl CounterKey {
    /// The counter that a click of this verdict, device and country adds one to.
    pub fn of(verdict: Verdict, device: Device, country: Country) -> Self {
        if verdict.is_valid() {
            Self((device as u16) << 8 | u16::from(country.index()))
        } else {
            Self(INVALID | verdict as u16)
        }
    }

    /// What it names.
    pub fn counted(self) -> Counted {
        if self.0 & INVALID != 0 {
            // Only `of` and `from_u16` make keys, and both keep the place in range.
            Counted::Invalid(Verdict::ALL[usize::from(self.0 & 0xff) % Verdict::ALL.len()])
        } else {
            let device = Device::ALL[usize::from(self.0 >> 8) % Device::ALL.len()];
            Counted::Cell(device, Country::from_index(self.0 as u8).unwrap_or(Country::ZZ))
        }
    }

    /// Whether it counts valid clicks.
    pub fn is_valid(self) -> bool {
        self.0 & INVALID == 0
    }

    /// The packed form.
    pub fn to_u16(self) -> u16 {
        self.0
    }

    /// From the packed form; `None` for a place outside the closed lists.
    pub fn from_u16(packed: u16) -> Option<Self> {
        let low = usize::from(packed & 0xff);
        let ok = if packed & INVALID != 0 {
            packed & 0x7f00 == 0 && (1..Verdict::ALL.len()).contains(&low)
        } else {
            usize::from(packed >> 8) < Device::ALL.len() && Country::from_index(packed as u8).is_some()
        };
        ok.then_some(Self(packed))
    }
}

/// The stored name: `<device digit><country>` as `1DE`, or `x<verdict digit>` as `x8`. Short, because DynamoDB bills
/// attribute names too, and flat, because `ADD` works on top-level attributes only.
impl fmt::Display for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.counted() {
            Counted::Cell(device, country) => write!(f, "{}{country}", device as u8),
            Counted::Invalid(verdict) => write!(f, "x{}", verdict as u8),
        }
    }
}

impl fmt::Debug for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that names no counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a counter's name")]
pub struct BadCounter;

impl FromStr for CounterKey {
    type Err = BadCounter;
    fn from_str(text: &str) -> Result<Self, BadCounter> {
        let packed = match text.as_bytes() {
            [b'x', digit @ b'1'..=b'9'] => INVALID | u16::from(digit - b'0'),
            [digit @ b'0'..=b'9', country @ ..] => {
                let country = Country::from_code(country).ok_or(BadCounter)?;
                u16::from(digit - b'0') << 8 | u16::from(country.index())
            }
            _ => return Err(BadCounter),
        };
        Self::from_u16(packed).ok_or(BadCounter)
    }
}

/// Counters with their counts: sorted by key, no key twice, no zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters(smallvec::SmallVec<[(CounterKey, u64); 3]>);

impl Counters {
    /// None yet, with room for so many.
    pub fn with_capacity(counters: usize) -> Self {
        Self(smallvec::SmallVec::with_capacity(counters))
    }

    /// Adds `count` to one counter.
    pub fn add(&mut self, key: CounterKey, count: u64) {
        if count == 0 {
            return;
        }
        // Whoever adds in order, as those who read stored counters do, only appends.
        if self.0.last().is_none_or(|(last, _)| *last < key) {
            return self.0.push((key, count));
        }
        let place = self.0.partition_point(|(k, _)| *k < key);
        match self.0.get_mut(place) {
            Some((k, n)) if *k == key => *n += count,
            _ => self.0.insert(place, (key, count)),
        }
    }

    /// Adds all of another's, in one pass over both.
    pub fn merge(&mut self, other: &Counters) {
        let (mut place, mut new) = (0, 0);
        for (key, count) in &other.0 {
            while self.0.get(place).is_some_and(|(k, _)| k < key) {
                place += 1;
            }
            match self.0.get_mut(place) {
                Some((k, n)) if k == key => *n += count,
                _ => new += 1,
            }
        }
        if new == 0 {
            return;
        }
        // From the end, so that each counter moves once.
        let (mut from, mut to) = (self.0.len(), self.0.len() + new);
        self.0.resize(to, (CounterKey(0), 0));
        for (key, count) in other.0.iter().rev() {
            while from > 0 && self.0[from - 1].0 > *key {
                (from, to) = (from - 1, to - 1);
                self.0[to] = self.0[from];
            }
            if from == 0 || self.0[from - 1].0 != *key {
                to -= 1;
                self.0[to] = (*key, *count);
            }
        }
    }

    /// The counters, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (CounterKey, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Whether this counter is among them.
    pub fn contains(&self, key: CounterKey) -> bool {
        self.0.binary_search_by_key(&key, |(k, _)| *k).is_ok()
    }

    /// How many counters there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Valid clicks over all cells.
    pub fn valid(&self) -> u64 {
        self.iter().filter(|(k, _)| k.is_valid()).map(|(_, n)| n).sum()
    }

    /// All clicks, valid or not.
    pub fn gross(&self) -> u64 {
        self.iter().map(|(_, n)| n).sum()
    }
}

impl FromIterator<(CounterKey, u64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (CounterKey, u64)>>(counters: I) -> Self {
        let mut all = Self::default();
        for (key, count) in counters {
            all.add(key, count);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_name_and_a_packed_form() {
        for verdict in Verdict::ALL {
            for device in Device::ALL {
                for country in (0..=255).filter_map(Country::from_index) {
                    let key = CounterKey::of(verdict, device, country);
                    assert_eq!(key.to_string().parse::<CounterKey>(), Ok(key));
                    assert_eq!(CounterKey::from_u16(key.to_u16()), Some(key));
                    match key.counted() {
                        Counted::Cell(d, c) => assert_eq!((verdict, d, c), (Verdict::Valid, device, country)),
                        Counted::Invalid(v) => assert_eq!(v, verdict),
                    }
                }
            }
        }
        assert_eq!(
            CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ).to_string(),
            "1ZZ"
        );
        assert_eq!(
            CounterKey::of(Verdict::Duplicate, Device::Mobile, Country::ZZ).to_string(),
            "x8"
        );
    }

    #[test]
    fn merging_is_adding_each_counter_in_any_order() {
        let keys: Vec<CounterKey> = (0..7).filter_map(|n| CounterKey::from_u16(n << 8 | n)).collect();
        let subset = |mask: u64| -> Vec<(CounterKey, u64)> {
            let chosen =
                |(n, key): (usize, &CounterKey)| (mask >> n & 1 == 1).then_some((*key, mask + n as u64));
            keys.iter().enumerate().filter_map(chosen).collect()
        };
        for (mine, other) in (0..128).flat_map(|mine| (0..128).map(move |other| (mine, other))) {
            let mut merged: Counters = subset(mine).into_iter().collect();
            merged.merge(&subset(other).into_iter().rev().collect());
            let mut truth = std::collections::BTreeMap::new();
            for (key, count) in subset(mine).into_iter().chain(subset(other)) {
                *truth.entry(key).or_insert(0) += count;
            }
            assert!(merged.iter().eq(truth), "{mine:b} and {other:b}: {merged:?}");
        }
    }

    #[test]
    fn other_texts_and_numbers_name_no_counter() {
        for bad in ["", "x", "x0", "x9", "xx", "7DE", "1", "1de", "1XX", "x10", "11DE"] {
            assert!(bad.parse::<CounterKey>().is_err(), "{bad:?}");
        }
        for bad in [INVALID, INVALID | 9, INVALID | 0x0101, 7 << 8, 250, 255] {
            assert_eq!(CounterKey::from_u16(bad), None, "{bad:#x}");
        }
    }
}
