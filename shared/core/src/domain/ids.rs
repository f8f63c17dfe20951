//! Identifiers.
//!
//! Numeric ids are 64-bit and decimal strings in JSON (JavaScript holds only 53 bits exactly). Click and impression
//! ids are UUIDv7, 22 characters of unpadded base64url in JSON.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a decimal number from 1 to 9,223,372,036,854,775,807 without sign or leading zero.
    #[error("must be a whole number from 1 to 9223372036854775807, in decimal digits")]
    NotANumber,
    /// Not 22 characters of base64url.
    #[error("must be 22 characters of base64url")]
    NotBase64Url,
    /// Not a slot's name.
    #[error("must be 1 to 64 characters from a-z, 0-9 and '-'")]
    NotASlot,
}

/// Digits only: `u64::from_str` would also take a sign and leading zeros, so one id would have several spellings.
fn parse_number(text: &str) -> Result<u64, IdError> {
    let canonical =
        matches!(text.as_bytes(), [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    if !canonical {
        return Err(IdError::NotANumber);
    }
    text.parse::<u64>()
        .ok()
        .filter(|id| *id <= i64::MAX as u64)
        .ok_or(IdError::NotANumber)
}

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// From 1 to 2^63 − 1 (so that every database's signed 64-bit integer holds it); a decimal string in JSON.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_number(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(itoa::Buffer::new().format(self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a decimal string")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

numeric_id!(
    /// An ad: what is shown and clicked.
    AdId
);
numeric_id!(
    /// A campaign: an advertiser's group of ads.
    CampaignId
);
numeric_id!(
    /// An advertiser: who pays for clicks.
    AdvertiserId
);
numeric_id!(
    /// A placement: a slot on a publisher's page.
    PlacementId
);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// A UUIDv7 (RFC 9562) of this time (Unix milliseconds) and these random bits.
            pub fn new(unix_ms: i64, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_ms.max(0) as u64, &random).into_uuid().as_u128())
            }

            /// The 16 bytes, big-endian: their order is the order of time.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The id of these 16 bytes.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }

            /// The time that the id carries, in Unix milliseconds.
            pub fn unix_ms(self) -> i64 {
                (self.0 >> 80) as i64
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0_u8; 22];
                match URL_SAFE_NO_PAD.encode_slice(self.to_bytes(), &mut text) {
                    Ok(_) => f.write_str(std::str::from_utf8(&text).unwrap_or_default()),
                    Err(_) => Err(fmt::Error),
                }
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0_u8; 16];
                match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
                    Ok(16) => Ok(Self::from_bytes(bytes)),
                    _ => Err(IdError::NotBase64Url),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("22 characters of base64url")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

uuid_id!(
    /// One request to `/click`: a fresh UUIDv7, set once and carried by every copy of the click's record.
    ClickId
);
uuid_id!(
    /// One showing of one ad: a UUIDv7, issued signed (see [`super::token`]).
    ImpressionId
);
uuid_id!(
    /// One heartbeat on one shard: a fresh UUIDv7 for each try, so that only an acknowledged one proves anything.
    HeartbeatId
);

/// A slot's name: `[a-z0-9-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SlotName(String);

impl SlotName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SlotName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::NotASlot)
        }
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SlotName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_ids_have_one_spelling() {
        assert_eq!("731".parse::<AdId>(), Ok(AdId(731)));
        for bad in [
            "",
            "0",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "18446744073709551616",
            "１",
        ] {
            assert_eq!(bad.parse::<AdId>(), Err(IdError::NotANumber), "{bad:?}");
        }
        assert_eq!(
            serde_json::to_string(&AdId(i64::MAX as u64)).unwrap(),
            "\"9223372036854775807\""
        );
        assert!(
            serde_json::from_str::<AdId>("731").is_err(),
            "a JSON number may already have lost digits"
        );
    }

    #[test]
    fn uuid_ids_round_trip_and_carry_their_time() {
        let id = ClickId::new(1_767_312_000_123, [7; 10]);
        assert_eq!(id.unix_ms(), 1_767_312_000_123);
        assert_eq!(id.to_string().len(), 22);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(ClickId::from_bytes(id.to_bytes()), id);
        for bad in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAA+A",
            "AAAAAAAAAAAAAAAAAAAAAB",
        ] {
            assert!(bad.parse::<ClickId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn slot_names_are_plain() {
        assert!("home-top".parse::<SlotName>().is_ok());
        for bad in ["", "Home", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<SlotName>().is_err(), "{bad:?}");
        }
    }
}
