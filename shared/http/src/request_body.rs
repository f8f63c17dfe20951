//! Bodies of requests.
//!
//! Invariant: no more of a body is held than [`crate::Limits::body_bytes`].

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::{HeaderMap, header};
use clickledger_core::service::ads::FieldError;
use http_body_util::LengthLimitError;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::EdgeConfig;
use crate::problem::{Kind, Problem};

/// All of a body.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Kind::BodyTooLarge, format!("a body may have {limit} bytes"));
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    to_bytes(body, limit).await.map_err(|error| {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if error.is::<LengthLimitError>() {
                return too_large();
            }
            cause = error.source();
        }
        Problem::new(Kind::InvalidBody, "the body could not be read to its end")
    })
}

/// The media type of a body in lower case, without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default();
    Some(essence.trim().to_ascii_lowercase())
}

/// A body of JSON.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S, T> FromRequest<S> for JsonBody<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
    Arc<EdgeConfig>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let limit = Arc::<EdgeConfig>::from_ref(state).limits.body_bytes;
        match media_type(&parts.headers).as_deref() {
            Some("application/json" | "application/merge-patch+json") => {}
            _ => {
                return Err(Problem::new(
                    Kind::UnsupportedMediaType,
                    "the body must be application/json (a change may be application/merge-patch+json)",
                ));
            }
        }
        let bytes = read(body, limit).await?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let reason = error.into_inner().to_string();
            match path.as_str() {
                "." => Problem::new(Kind::InvalidBody, reason),
                _ => Problem::of(Kind::InvalidBody, vec![FieldError::new(path, reason)]),
            }
        })?;
        json.end()
            .map_err(|error| Problem::new(Kind::InvalidBody, error.to_string()))?;
        Ok(Self(value))
    }
}

/// A JSON object. Serde by itself also takes an array for a structure, field after field.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// For fields of a change that may be left out but not be null: serde takes the one for the other.
pub(crate) fn given<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
