//! The impression token: the signed, URL-safe form of an impression, which a click must bring.
//!
//! Layout, 54 bytes before base64url (72 characters, no padding and no spare bits):
//!
//! | bytes | holds |
//! | --- | --- |
//! | 0 | version, 1 |
//! | 1 | key id |
//! | 2–5 | issued at, Unix seconds, big-endian |
//! | 6–21 | impression id |
//! | 22–29 | ad id, big-endian |
//! | 30–37 | placement id, big-endian |
//! | 38–53 | HMAC-SHA256 of bytes 0–37, truncated to 128 bits (RFC 2104 section 5) |
//!
//! Invariant: a changed bit anywhere is refused, in time that does not depend on which bit.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::ids::{AdId, ImpressionId, PlacementId};

const VERSION: u8 = 1;
const SIGNED: usize = 38;
const LENGTH: usize = 54;
/// Characters of a token.
pub const TOKEN_CHARS: usize = 72;

/// One showing of one ad, as a token says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impression {
    /// Which showing.
    pub impression_id: ImpressionId,
    /// Of which ad.
    pub ad_id: AdId,
    /// In which placement.
    pub placement_id: PlacementId,
    /// When the token was issued, Unix seconds.
    pub issued_at_s: u32,
}

impl Impression {
    /// Whether a token of this lifetime has run out at `now_ms`.
    pub fn expired(&self, now_ms: i64, lifetime_ms: i64) -> bool {
        now_ms >= self.expires_at_ms(lifetime_ms)
    }

    /// When a token of this lifetime runs out, Unix milliseconds.
    pub fn expires_at_ms(&self, lifetime_ms: i64) -> i64 {
        i64::from(self.issued_at_s) * 1000 + lifetime_ms
    }
}

/// Why a text is not one of our tokens. All of them are the verdict `bad_token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not 72 characters of base64url, or of another version.
    #[error("not an impression token")]
    Malformed,
    /// Signed with a key that is neither current nor previous.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature does not fit")]
    BadSignature,
}

/// One signing key.
#[derive(Clone)]
pub struct TokenKey {
    id: u8,
    // The keyed state: hashing the key's two blocks once halves the work of a verification.
    mac: Hmac<Sha256>,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({}, …)", self.id)
    }
}

impl TokenKey {
    /// The key of this id and these 32 secret bytes.
    pub fn new(id: u8, secret: &[u8; 32]) -> Self {
        // 32 bytes fit a block of SHA-256, so the key schedule cannot fail.
        let mut block = [0_u8; 64];
        block[..32].copy_from_slice(secret);
        Self {
            id,
            mac: Hmac::new(&block.into()),
        }
    }

    fn tag(&self, signed: &[u8]) -> [u8; 16] {
        let mut mac = self.mac.clone();
        mac.update(signed);
        let full = mac.finalize().into_bytes();
        std::array::from_fn(|i| full[i])
    }
}

/// The signing keys: new tokens are signed with the current one; the current and the previous ones verify.
#[derive(Debug, Clone)]
pub struct TokenKeyRing {
    current: TokenKey,
    previous: Arc<[TokenKey]>,
}

impl TokenKeyRing {
    /// A ring that signs with `current`.
    pub fn new(current: TokenKey, previous: impl IntoIterator<Item = TokenKey>) -> Self {
        Self {
            current,
            previous: previous.into_iter().collect(),
        }
    }

    /// Signs an impression.
    pub fn issue(&self, impression: &Impression) -> String {
        let mut bytes = [0_u8; LENGTH];
        bytes[0] = VERSION;
        bytes[1] = self.current.id;
        bytes[2..6].copy_from_slice(&impression.issued_at_s.to_be_bytes());
        bytes[6..22].copy_from_slice(&impression.impression_id.to_bytes());
        bytes[22..30].copy_from_slice(&impression.ad_id.0.to_be_bytes());
        bytes[30..38].copy_from_slice(&impression.placement_id.0.to_be_bytes());
        let tag = self.current.tag(&bytes[..SIGNED]);
        bytes[SIGNED..].copy_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The impression of a token that one of our keys has signed. Its age is for the caller to judge
    /// ([`Impression::expired`]): "bad" comes before "expired".
    pub fn verify(&self, token: &str) -> Result<Impression, TokenError> {
        if token.len() != TOKEN_CHARS {
            return Err(TokenError::Malformed);
        }
        let mut bytes = [0_u8; LENGTH];
        match URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) {
            Ok(LENGTH) if bytes[0] == VERSION => {}
            _ => return Err(TokenError::Malformed),
        }
        let key = std::iter::once(&self.current)
            .chain(self.previous.iter())
            .find(|key| key.id == bytes[1])
            .ok_or(TokenError::UnknownKey)?;
        if !bool::from(key.tag(&bytes[..SIGNED]).ct_eq(&bytes[SIGNED..])) {
            return Err(TokenError::BadSignature);
        }
        Ok(Impression {
            issued_at_s: u32::from_be_bytes(take(&bytes, 2)),
            impression_id: ImpressionId::from_bytes(take(&bytes, 6)),
            ad_id: AdId(u64::from_be_bytes(take(&bytes, 22))),
            placement_id: PlacementId(u64::from_be_bytes(take(&bytes, 30))),
        })
    }
}

fn take<const N: usize>(bytes: &[u8; LENGTH], from: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[from + i])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> TokenKeyRing {
        TokenKeyRing::new(TokenKey::new(2, &[2; 32]), [TokenKey::new(1, &[1; 32])])
    }

    fn impression() -> Impression {
        Impression {
            impression_id: ImpressionId::new(1_767_312_000_000, [9; 10]),
            ad_id: AdId(731),
            placement_id: PlacementId(5),
            issued_at_s: 1_767_312_000,
        }
    }

    #[test]
    fn a_token_brings_its_impression_back() {
        let token = ring().issue(&impression());
        assert_eq!(token.len(), TOKEN_CHARS);
        assert_eq!(ring().verify(&token), Ok(impression()));
    }

    #[test]
    fn the_signature_is_hmac_sha256_truncated() {
        // RFC 4231, test case 2 has a short key; the tag of a known key and text pins key padding and truncation.
        let mut secret = [0_u8; 32];
        secret[..4].copy_from_slice(b"Jefe");
        let tag = TokenKey::new(0, &secret).tag(b"what do ya want for nothing?");
        assert_eq!(
            tag,
            [
                0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75,
                0xc7
            ]
        );
    }

    #[test]
    fn the_previous_key_verifies_and_an_older_one_does_not() {
        let old = TokenKeyRing::new(TokenKey::new(1, &[1; 32]), []).issue(&impression());
        let older = TokenKeyRing::new(TokenKey::new(0, &[0; 32]), []).issue(&impression());
        assert_eq!(ring().verify(&old), Ok(impression()));
        assert_eq!(ring().verify(&older), Err(TokenError::UnknownKey));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let token = ring().issue(&impression());
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..LENGTH * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(
                ring().verify(&URL_SAFE_NO_PAD.encode(&changed)).is_err(),
                "bit {bit}"
            );
        }
        // And every bit of the text itself, which may then be no base64url, or no UTF-8, at all.
        for bit in 0..TOKEN_CHARS * 8 {
            let mut changed = token.clone().into_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(text) = String::from_utf8(changed) {
                assert!(ring().verify(&text).is_err(), "bit {bit} of the text");
            }
        }
    }

    #[test]
    fn texts_of_every_length_are_refused() {
        let token = ring().issue(&impression());
        for length in 0..=200 {
            assert!(ring().verify(&"A".repeat(length)).is_err());
            let cut: String = token.chars().cycle().take(length).collect();
            assert_eq!(ring().verify(&cut).is_ok(), length == TOKEN_CHARS, "{length}");
        }
        assert_eq!(ring().verify(&"ä".repeat(36)), Err(TokenError::Malformed));
        assert_eq!(
            ring().verify(&format!("{}=", &token[..71])),
            Err(TokenError::Malformed)
        );
    }

    #[test]
    fn a_token_runs_out_at_its_lifetime() {
        let impression = impression();
        let end = 1_767_312_000_000 + 1000;
        assert!(!impression.expired(end - 1, 1000));
        assert!(impression.expired(end, 1000));
    }
}
