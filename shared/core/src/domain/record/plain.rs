//! Reads a click record as [`ClickRecord::to_line`](super::ClickRecord::to_line) writes it, without a JSON parser.
//!
//! Invariant: what is read here, the JSON parser reads too, and as the same click. Whatever differs in the least from
//! our own spelling (order of fields, spaces, escapes, other scripts, nulls, other versions) is `None`: not refused, but
//! left to the JSON parser.

use super::{CountedClick, RECORD_VERSION};
use crate::domain::country::Country;
use crate::domain::device::Device;
use crate::domain::digits::leading_digits;
use crate::domain::ids::{AdId, AdvertiserId, CampaignId, ClickId, ImpressionId, PlacementId};
use crate::domain::verdict::Verdict;

// The literal below begins with this version.
const _: () = assert!(RECORD_VERSION == 1);

/// The click of a record in our own spelling. Whether it may be counted is for the caller to judge.
pub(super) fn read(json: &[u8]) -> Option<CountedClick> {
    let mut rest = Rest(json);
    rest.literal(br#"{"v":1,"click_id":""#)?;
    let click_id = ClickId(rest.uuid()?);
    let impression_id = match rest.literal(br#","impression_id":""#) {
        Some(()) => Some(ImpressionId(rest.uuid()?)),
        None => None,
    };
    rest.literal(br#","ad_id":""#)?;
    let ad_id = AdId(rest.quoted_id()?);
    rest.literal(br#","campaign_id":""#)?;
    let campaign_id = CampaignId(rest.quoted_id()?);
    rest.literal(br#","advertiser_id":""#)?;
    let advertiser_id = AdvertiserId(rest.quoted_id()?);
    let placement_id = match rest.literal(br#","placement_id":""#) {
        Some(()) => Some(PlacementId(rest.quoted_id()?)),
        None => None,
    };
    rest.literal(br#","clicked_at_ms":"#)?;
    let clicked_at_ms = rest.number()?;
    rest.literal(br#","verdict":""#)?;
    let verdict = rest.word(verdict)?;
    if rest.literal(br#","duplicate_of":""#).is_some() {
        rest.uuid()?;
    }
    rest.literal(br#","claimed":"#)?;
    let claimed = rest.boolean()?;
    rest.literal(br#","partition_key":""#)?;
    rest.text()?;
    rest.literal(br#","device":""#)?;
    let device = rest.word(device)?;
    rest.literal(br#","country":""#)?;
    let country = rest.word(Country::from_code)?;
    if rest.literal(br#","network":""#).is_some() {
        rest.text()?;
    }
    if rest.literal(br#","client_hash":""#).is_some() {
        rest.text()?;
    }
    if rest.literal(br#","agent_hash":""#).is_some() {
        rest.text()?;
    }
    if rest.literal(br#","dwell_ms":"#).is_some() {
        rest.number()?;
    }
    if rest.literal(br#","referrer_host":""#).is_some() {
        rest.text()?;
    }
    if !matches!(rest.0, b"}\n" | b"}") {
        return None;
    }
    Some(CountedClick {
        click_id,
        impression_id,
        ad_id,
        campaign_id,
        advertiser_id,
        placement_id,
        clicked_at_ms,
        verdict,
        claimed,
        device,
        country,
    })
}

#[inline]
fn verdict(word: &[u8]) -> Option<Verdict> {
    // Nearly all clicks; the others are looked for in the list.
    if word == b"valid" {
        return Some(Verdict::Valid);
    }
    Verdict::ALL
        .into_iter()
        .find(|verdict| verdict.as_str().as_bytes() == word)
}

#[inline]
fn device(word: &[u8]) -> Option<Device> {
    match word {
        b"mobile" => Some(Device::Mobile),
        b"desktop" => Some(Device::Desktop),
        _ => Device::ALL
            .into_iter()
            .find(|device| device.as_str().as_bytes() == word),
    }
}

/// What is left to read. After a method that answers `None` it stands where it stood or further on: nobody reads on then,
/// except after [`Rest::literal`], which does not move.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    #[inline(always)]
    fn literal<const N: usize>(&mut self, literal: &[u8; N]) -> Option<()> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        if head != literal {
            return None;
        }
        self.0 = rest;
        Some(())
    }

    /// 16 bytes in 22 characters of base64url and the closing quote.
    #[inline(always)]
    fn uuid(&mut self) -> Option<u128> {
        let (text, rest) = self.0.split_first_chunk::<23>()?;
        let (mut parts, mut all) = ([0_u64; 3], 0_u8);
        for (part, range) in parts.iter_mut().zip([0..10, 10..20, 20..22]) {
            for character in &text[range] {
                let six = SIX_BITS[usize::from(*character)];
                all |= six;
                *part = *part << 6 | u64::from(six);
            }
        }
        // The last character brings two bits; its other four have to be zero, or one id had several spellings.
        if all == 0xFF || text[22] != b'"' || parts[2] & 0xF != 0 {
            return None;
        }
        self.0 = rest;
        Some(u128::from(parts[0]) << 68 | u128::from(parts[1]) << 8 | u128::from(parts[2] >> 4))
    }

    /// A numeric id and its closing quote.
    #[inline(always)]
    fn quoted_id(&mut self) -> Option<u64> {
        let (value, length) = leading_digits(self.0)?;
        // From 1 to 2^63 - 1, in one spelling.
        if length == 0 || self.0[0] == b'0' || value > i64::MAX as u64 {
            return None;
        }
        self.0 = self.0[length..].strip_prefix(b"\"")?;
        Some(value)
    }

    /// A whole number, not negative, that fits an `i64`. What follows has to be read by the caller as literal, so that no
    /// fraction or exponent can hide there.
    #[inline(always)]
    fn number(&mut self) -> Option<i64> {
        let (value, length) = leading_digits(self.0)?;
        if length == 0 || (self.0[0] == b'0' && length > 1) {
            return None;
        }
        self.0 = &self.0[length..];
        i64::try_from(value).ok()
    }

    #[inline(always)]
    fn boolean(&mut self) -> Option<bool> {
        match self.literal(b"true") {
            Some(()) => Some(true),
            None => self.literal(b"false").map(|()| false),
        }
    }

    /// A word of one of the closed lists (all short, none with a quote in it) and its closing quote.
    #[inline(always)]
    fn word<T>(&mut self, meaning: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let end = self.0.iter().take(16).position(|byte| *byte == b'"')?;
        let (word, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        meaning(word)
    }

    /// Any string and its closing quote.
    #[inline(always)]
    fn text(&mut self) -> Option<()> {
        self.0 = &self.0[plain_text(self.0)? + 1..];
        Some(())
    }
}

/// Length of the JSON string that `rest` begins with (after its opening quote), if it is plain: ASCII without escapes and
/// control characters, ended by a quote.
#[inline]
pub(in crate::domain) fn plain_text(rest: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let mut from = 0;
    while let Some(chunk) = rest[from..].first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        // A byte's top bit is set where the byte is a quote, a backslash, below 0x20 or above 0x7F. Borrows can set it
        // wrongly, but only behind a byte where it is set rightly.
        let quote = (word ^ (ONES * 0x22)).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * 0x5C)).wrapping_sub(ONES);
        let control = word.wrapping_sub(ONES * 0x20);
        let found = (quote | backslash | control | word) & TOPS;
        // The three differences are wrong for bytes above 0x7F only, which are found anyway.
        if found != 0 {
            let end = from + found.trailing_zeros() as usize / 8;
            return (rest[end] == b'"').then_some(end);
        }
        from += 8;
    }
    let tail = &rest[from..];
    let end = tail
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x80..))?;
    (tail[end] == b'"').then_some(from + end)
}

/// The six bits of a base64url character; 255 for every other byte.
const SIX_BITS: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut table = [0xFF_u8; 256];
    let mut i = 0;
    while i < alphabet.len() {
        table[alphabet[i] as usize] = i as u8;
        i += 1;
    }
    table
};
