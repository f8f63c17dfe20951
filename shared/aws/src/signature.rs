//! AWS Signature Version 4 for the one form of request that the lean client sends: `POST /` with a body of JSON.
//!
//! Invariant: what is signed is what `aws-sigv4` would sign; a test compares the two. The key of a day is kept, and with it
//! the keyed state of its HMAC, so that signing costs the hashes of request and body and nothing else.

use std::fmt::Write;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_credential_types::Credentials;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::calendar;

const HEADERS: &str = "content-type;host;x-amz-date;x-amz-target";
const HEADERS_WITH_TOKEN: &str = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target";

/// Signs for one service in one region.
pub(crate) struct Signer {
    service: &'static str,
    region: String,
    key: ArcSwapOption<DayKey>,
}

/// The signing key of one day and one secret.
struct DayKey {
    day: String,
    secret: String,
    mac: Hmac<Sha256>,
}

/// What a request's signature is made of.
pub(crate) struct Signature {
    date_time: String,
    /// The `Authorization` header.
    pub(crate) authorization: String,
}

impl Signature {
    /// The `X-Amz-Date` header.
    pub(crate) fn date_time(&self) -> &str {
        &self.date_time
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // RFC 2104: a key longer than a block is hashed first, a shorter one is filled up with zeros.
    let mut block = [0_u8; 64];
    match block.get_mut(..key.len()) {
        Some(start) => start.copy_from_slice(key),
        None => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    Hmac::new(&block.into())
}

fn mac(mut state: Hmac<Sha256>, text: &[u8]) -> [u8; 32] {
    state.update(text);
    state.finalize().into_bytes().into()
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

impl Signer {
    pub(crate) fn new(service: &'static str, region: &str) -> Self {
        Self {
            service,
            region: region.to_owned(),
            key: ArcSwapOption::empty(),
        }
    }

    fn day_key(&self, credentials: &Credentials, day: &str) -> Arc<DayKey> {
        let secret = credentials.secret_access_key();
        if let Some(key) = &*self.key.load()
            && key.day == day
            && key.secret == secret
        {
            return Arc::clone(key);
        }
        let mut key = mac(keyed(format!("AWS4{secret}").as_bytes()), day.as_bytes());
        for part in [&*self.region, self.service, "aws4_request"] {
            key = mac(keyed(&key), part.as_bytes());
        }
        let key = Arc::new(DayKey {
            day: day.to_owned(),
            secret: secret.to_owned(),
            mac: keyed(&key),
        });
        self.key.store(Some(Arc::clone(&key)));
        key
    }

    /// Signs a `POST /` without a query.
    pub(crate) fn sign(
        &self,
        credentials: &Credentials,
        now_ms: i64,
        host: &str,
        content: &str,
        target: &str,
        body: &[u8],
    ) -> Signature {
        let date_time = calendar::date_time(now_ms);
        let day = &date_time[..date_time.find('T').unwrap_or(date_time.len())];
        let mut canonical = String::with_capacity(1_024);
        canonical.push_str("POST\n/\n\ncontent-type:");
        for part in [content, "\nhost:", host, "\nx-amz-date:", &*date_time] {
            canonical.push_str(part);
        }
        let mut headers = HEADERS;
        if let Some(token) = credentials.session_token() {
            headers = HEADERS_WITH_TOKEN;
            canonical.push_str("\nx-amz-security-token:");
            canonical.push_str(token);
        }
        for part in ["\nx-amz-target:", target, "\n\n", headers, "\n"] {
            canonical.push_str(part);
        }
        push_hex(&mut canonical, &Sha256::digest(body));

        let (region, service) = (&self.region, self.service);
        let mut to_sign = String::with_capacity(192);
        // Writing to a text does not fail.
        let _ = write!(
            to_sign,
            "AWS4-HMAC-SHA256\n{date_time}\n{day}/{region}/{service}/aws4_request\n"
        );
        push_hex(&mut to_sign, &Sha256::digest(canonical.as_bytes()));

        let tag = mac(self.day_key(credentials, day).mac.clone(), to_sign.as_bytes());
        let mut authorization = String::with_capacity(320);
        let _ = write!(
            authorization,
            "AWS4-HMAC-SHA256 Credential={}/{day}/{region}/{service}/aws4_request, SignedHeaders={headers}, Signature=",
            credentials.access_key_id()
        );
        push_hex(&mut authorization, &tag);
        Signature {
            date_time,
            authorization,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4;

    use super::*;

    #[test]
    fn the_signature_is_the_one_of_aws_sigv4() {
        let signer = Signer::new("dynamodb", "eu-central-1");
        let long = "k".repeat(90);
        let mut now_ms = 1_767_312_000_123;
        for (secret, token) in [
            ("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None),
            (
                "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                Some("a session's token=="),
            ),
            ("another", None),
            (&*long, None),
        ] {
            let credentials = Credentials::new("AKIDEXAMPLE", secret, token.map(str::to_owned), None, "test");
            for body in [
                "{}",
                "{\"ü\":\"a longer body, which fills more than one block of the hash function\"}",
            ] {
                now_ms += 50_000_000;
                let (host, content, target) = (
                    "dynamodb.eu-central-1.amazonaws.com",
                    "application/x-amz-json-1.0",
                    "DynamoDB_20120810.PutItem",
                );
                let ours = signer.sign(&credentials, now_ms, host, content, target, body.as_bytes());

                let identity = credentials.clone().into();
                let params = v4::SigningParams::builder()
                    .identity(&identity)
                    .region("eu-central-1")
                    .name("dynamodb")
                    .time(UNIX_EPOCH + Duration::from_millis(now_ms as u64))
                    .settings(SigningSettings::default())
                    .build()
                    .unwrap()
                    .into();
                let headers = [("content-type", content), ("x-amz-target", target)];
                let request = SignableRequest::new(
                    "POST",
                    format!("https://{host}/"),
                    headers.into_iter(),
                    SignableBody::Bytes(body.as_bytes()),
                )
                .unwrap();
                let (theirs, _) = sign(request, &params).unwrap().into_parts();
                let header = |name: &str| {
                    let found = theirs.headers().find(|(n, _)| *n == name);
                    found.map(|(_, value)| value.to_owned()).unwrap_or_default()
                };
                assert_eq!(ours.date_time(), header("x-amz-date"));
                assert_eq!(ours.authorization, header("authorization"));
            }
        }
    }
}
