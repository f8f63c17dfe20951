//! The closed list of countries: ISO 3166-1 alpha-2, and `ZZ` where the country is not known.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The 249 assigned codes and `ZZ`, sorted: a country is its place in this list. New codes go to the end, never between:
/// stored counters name countries by their letters, but the place is what memory holds.
#[rustfmt::skip]
const CODES: [[u8; 2]; 250] = [
    *b"AD", *b"AE", *b"AF", *b"AG", *b"AI", *b"AL", *b"AM", *b"AO", *b"AQ", *b"AR", *b"AS", *b"AT", *b"AU", *b"AW", *b"AX", *b"AZ", *b"BA", *b"BB", *b"BD", *b"BE",
    *b"BF", *b"BG", *b"BH", *b"BI", *b"BJ", *b"BL", *b"BM", *b"BN", *b"BO", *b"BQ", *b"BR", *b"BS", *b"BT", *b"BV", *b"BW", *b"BY", *b"BZ", *b"CA", *b"CC", *b"CD",
    *b"CF", *b"CG", *b"CH", *b"CI", *b"CK", *b"CL", *b"CM", *b"CN", *b"CO", *b"CR", *b"CU", *b"CV", *b"CW", *b"CX", *b"CY", *b"CZ", *b"DE", *b"DJ", *b"DK", *b"DM",
    *b"DO", *b"DZ", *b"EC", *b"EE", *b"EG", *b"EH", *b"ER", *b"ES", *b"ET", *b"FI", *b"FJ", *b"FK", *b"FM", *b"FO", *b"FR", *b"GA", *b"GB", *b"GD", *b"GE", *b"GF",
    *b"GG", *b"GH", *b"GI", *b"GL", *b"GM", *b"GN", *b"GP", *b"GQ", *b"GR", *b"GS", *b"GT", *b"GU", *b"GW", *b"GY", *b"HK", *b"HM", *b"HN", *b"HR", *b"HT", *b"HU",
    *b"ID", *b"IE", *b"IL", *b"IM", *b"IN", *b"IO", *b"IQ", *b"IR", *b"IS", *b"IT", *b"JE", *b"JM", *b"JO", *b"JP", *b"KE", *b"KG", *b"KH", *b"KI", *b"KM", *b"KN",
    *b"KP", *b"KR", *b"KW", *b"KY", *b"KZ", *b"LA", *b"LB", *b"LC", *b"LI", *b"LK", *b"LR", *b"LS", *b"LT", *b"LU", *b"LV", *b"LY", *b"MA", *b"MC", *b"MD", *b"ME",
    *b"MF", *b"MG", *b"MH", *b"MK", *b"ML", *b"MM", *b"MN", *b"MO", *b"MP", *b"MQ", *b"MR", *b"MS", *b"MT", *b"MU", *b"MV", *b"MW", *b"MX", *b"MY", *b"MZ", *b"NA",
    *b"NC", *b"NE", *b"NF", *b"NG", *b"NI", *b"NL", *b"NO", *b"NP", *b"NR", *b"NU", *b"NZ", *b"OM", *b"PA", *b"PE", *b"PF", *b"PG", *b"PH", *b"PK", *b"PL", *b"PM",
    *b"PN", *b"PR", *b"PS", *b"PT", *b"PW", *b"PY", *b"QA", *b"RE", *b"RO", *b"RS", *b"RU", *b"RW", *b"SA", *b"SB", *b"SC", *b"SD", *b"SE", *b"SG", *b"SH", *b"SI",
    *b"SJ", *b"SK", *b"SL", *b"SM", *b"SN", *b"SO", *b"SR", *b"SS", *b"ST", *b"SV", *b"SX", *b"SY", *b"SZ", *b"TC", *b"TD", *b"TF", *b"TG", *b"TH", *b"TJ", *b"TK",
    *b"TL", *b"TM", *b"TN", *b"TO", *b"TR", *b"TT", *b"TV", *b"TW", *b"TZ", *b"UA", *b"UG", *b"UM", *b"US", *b"UY", *b"UZ", *b"VA", *b"VC", *b"VE", *b"VG", *b"VI",
    *b"VN", *b"VU", *b"WF", *b"WS", *b"YE", *b"YT", *b"ZA", *b"ZM", *b"ZW", *b"ZZ",
];

/// Place in [`CODES`] by the two letters; 255 where there is none.
const INDEX: [u8; 26 * 26] = {
    let mut index = [255_u8; 26 * 26];
    let mut i = 0;
    while i < CODES.len() {
        index[(CODES[i][0] - b'A') as usize * 26 + (CODES[i][1] - b'A') as usize] = i as u8;
        i += 1;
    }
    index
};

/// A country of the closed list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country(u8);

impl Country {
    /// Not known.
    pub const ZZ: Country = Country(INDEX[25 * 26 + 25]);

    /// The country of these two capital letters.
    pub fn from_code(code: &[u8]) -> Option<Self> {
        let [a @ b'A'..=b'Z', b @ b'A'..=b'Z'] = code else {
            return None;
        };
        let place = INDEX[usize::from(a - b'A') * 26 + usize::from(b - b'A')];
        (place != 255).then_some(Self(place))
    }

    /// The country of an untrusted text in any case; `ZZ` for whatever is not on the list.
    pub fn from_untrusted(text: &str) -> Self {
        match text.as_bytes() {
            [a, b] => Self::from_code(&[a.to_ascii_uppercase(), b.to_ascii_uppercase()]).unwrap_or(Self::ZZ),
            _ => Self::ZZ,
        }
    }

    /// Its two letters.
    pub fn as_str(&self) -> &'static str {
        std::str::from_utf8(&CODES[usize::from(self.0)]).unwrap_or("ZZ")
    }

    /// Its place in the list, from 0 to 249.
    pub fn index(self) -> u8 {
        self.0
    }

    /// The country at this place.
    pub fn from_index(index: u8) -> Option<Self> {
        (usize::from(index) < CODES.len()).then_some(Self(index))
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A code that is not on the closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 3166-1 alpha-2 country")]
pub struct UnknownCountry;

impl FromStr for Country {
    type Err = UnknownCountry;
    fn from_str(text: &str) -> Result<Self, UnknownCountry> {
        Self::from_code(text.as_bytes()).ok_or(UnknownCountry)
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Country;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a two-letter country")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Country, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_finds_itself_and_nothing_else_is_found() {
        for (place, code) in CODES.iter().enumerate() {
            assert_eq!(Country::from_code(code).map(Country::index), Some(place as u8));
        }
        for bad in ["", "D", "DEU", "de", "XX", "D1", "\u{e4}"] {
            assert!(bad.parse::<Country>().is_err(), "{bad:?}");
        }
        assert_eq!(Country::from_untrusted("de").as_str(), "DE");
        assert_eq!(Country::from_untrusted("<script>").as_str(), "ZZ");
    }
}
