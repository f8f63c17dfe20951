//! `/v1/keys`: API keys made, listed, revoked, rotated; by administrators.
//!
//! Invariant: a key's text is answered once, to whoever made it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clickledger_core::domain::api_key::{ApiKey, KeyId, Scope};
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::service::ads::FieldError;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::LocalTime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Administrator, Api};
use crate::config::EdgeConfig;
use crate::params::{ListParams, NoParams, Params, PathId, page};
use crate::problem::{Kind, Problem, ProblemDocument};
use crate::request_body::JsonBody;

type Keys = Api<()>;

/// Administration of keys.
pub fn keys_router(keys: Arc<KeysService>, config: Arc<EdgeConfig>) -> OpenApiRouter {
    routes().with_state(Api { of: (), keys, config })
}

fn routes() -> OpenApiRouter<Keys> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, revoke))
        .routes(routes!(rotate))
}

/// What the routes say about themselves.
pub(crate) fn described() -> OpenApi {
    routes().into_openapi()
}

/// What a key may do.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScopeName {
    /// Everything.
    Admin,
    /// One advertiser's ads and counts.
    Advertiser,
    /// The counts of placements.
    Publisher,
}

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKeyBody {
    scope: ScopeName,
    /// With `advertiser`: whose.
    #[schema(value_type = Option<String>)]
    advertiser_id: Option<AdvertiserId>,
    /// With `advertiser`: whether it may change nothing.
    read_only: Option<bool>,
    /// With `publisher`: which placements, 1 to 100.
    #[schema(value_type = Option<Vec<String>>)]
    placement_ids: Option<Vec<PlacementId>>,
}

impl NewKeyBody {
    fn scope(self) -> Result<Scope, Problem> {
        let mut errors = Vec::new();
        let mut refuse = |name: &'static str, given: bool, wanted: bool| {
            if given && !wanted {
                errors.push(FieldError::new(name, "does not belong to this scope"));
            } else if wanted && !given {
                errors.push(FieldError::new(name, "is missing"));
            }
        };
        let is = |scope| self.scope == scope;
        refuse(
            "advertiser_id",
            self.advertiser_id.is_some(),
            is(ScopeName::Advertiser),
        );
        refuse(
            "read_only",
            self.read_only.is_some(),
            self.read_only.is_some() && is(ScopeName::Advertiser),
        );
        refuse(
            "placement_ids",
            self.placement_ids.is_some(),
            is(ScopeName::Publisher),
        );
        match (self.scope, self.advertiser_id, self.placement_ids) {
            _ if !errors.is_empty() => Err(Problem::of(Kind::InvalidBody, errors)),
            (ScopeName::Advertiser, Some(advertiser_id), _) => Ok(Scope::Advertiser {
                advertiser_id,
                read_only: self.read_only.unwrap_or(false),
            }),
            (ScopeName::Publisher, _, Some(placement_ids)) => Ok(Scope::Publisher { placement_ids }),
            _ => Ok(Scope::Admin),
        }
    }
}

/// A key. Its secret is stored nowhere.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyView {
    #[schema(value_type = String)]
    key_id: KeyId,
    /// The key itself: only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "clk_…")]
    key: Option<String>,
    scope: ScopeName,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    advertiser_id: Option<AdvertiserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    placement_ids: Option<Vec<PlacementId>>,
    #[schema(value_type = String, format = DateTime)]
    created_at: LocalTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<LocalTime>,
    /// The hour in which it was last used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<LocalTime>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        let (scope, advertiser_id, read_only, placement_ids) = match key.scope {
            Scope::Admin => (ScopeName::Admin, None, None, None),
            Scope::Advertiser {
                advertiser_id,
                read_only,
            } => (ScopeName::Advertiser, Some(advertiser_id), Some(read_only), None),
            Scope::Publisher { placement_ids } => (ScopeName::Publisher, None, None, Some(placement_ids)),
        };
        Self {
            key_id: key.key_id,
            key: None,
            scope,
            advertiser_id,
            read_only,
            placement_ids,
            created_at: LocalTime::utc(key.created_ms),
            revoked_at: key.revoked_ms.map(LocalTime::utc),
            last_used_at: key.last_used_ms.map(LocalTime::utc),
        }
    }
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyList {
    items: Vec<KeyView>,
    /// The next page's `cursor`; null on the last one.
    next_cursor: Option<String>,
}

/// A key that was just made. `folder` leads from the request's own address to the keys.
fn made((key, text): (ApiKey, String), folder: &str) -> Result<Response, Problem> {
    let location = HeaderValue::try_from(format!("{folder}{}", key.key_id))
        .map_err(|_| Problem::new(Kind::Internal, "the key's address cannot be sent"))?;
    let view = KeyView {
        key: Some(text),
        ..KeyView::from(key)
    };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// Makes a key.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", operation_id = "create_key", security(("key" = [])), request_body = NewKeyBody, responses(
    (status = 201, body = KeyView, description = "Made; its text is shown only here"),
    (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Not made"),
))]
async fn create(
    _: Administrator,
    _: NoParams,
    State(api): State<Keys>,
    JsonBody(body): JsonBody<NewKeyBody>,
) -> Result<Response, Problem> {
    made(api.keys.create(body.scope()?).await?, "keys/")
}

/// The keys, revoked ones too, in the order of their ids.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", operation_id = "list_keys", security(("key" = [])),
    params(ListParams),
    responses(
        (status = 200, body = KeyList, description = "A page"),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
    ))]
async fn list(
    _: Administrator,
    State(api): State<Keys>,
    RawQuery(query): RawQuery,
) -> Result<Json<KeyList>, Problem> {
    let mut params = Params::new(query.as_deref(), &["limit", "cursor"]);
    let (limit, after) = (params.list_rows(), params.list_cursor::<KeyId>());
    params.finish()?;
    let found = api.keys.list(after.as_ref(), limit + 1).await?;
    let (keys, next_cursor) = page(found, limit, |key| key.key_id.to_string());
    Ok(Json(KeyList {
        items: keys.into_iter().map(KeyView::from).collect(),
        next_cursor,
    }))
}

/// A key.
#[utoipa::path(get, path = "/v1/keys/{key_id}", tag = "keys", operation_id = "get_key", security(("key" = [])), params(("key_id" = String, Path)), responses(
    (status = 200, body = KeyView, description = "The key"),
    (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
))]
async fn get(
    _: Administrator,
    _: NoParams,
    State(api): State<Keys>,
    PathId(key_id): PathId<KeyId>,
) -> Result<Json<KeyView>, Problem> {
    let key = api.keys.get(&key_id).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(KeyView::from(key)))
}

/// Revokes a key, for good; every process knows within 30 seconds.
#[utoipa::path(delete, path = "/v1/keys/{key_id}", tag = "keys", operation_id = "revoke_key", security(("key" = [])), params(("key_id" = String, Path)), responses(
    (status = 204, description = "Revoked, now or before"),
    (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
))]
async fn revoke(
    _: Administrator,
    _: NoParams,
    State(api): State<Keys>,
    PathId(key_id): PathId<KeyId>,
) -> Result<StatusCode, Problem> {
    if api.keys.revoke(&key_id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found())
    }
}

/// Makes a key of the same scope and revokes this one.
#[utoipa::path(post, path = "/v1/keys/{key_id}/rotate", tag = "keys", operation_id = "rotate_key", security(("key" = [])), params(("key_id" = String, Path)), responses(
    (status = 201, body = KeyView, description = "The new key; its text is shown only here"),
    (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
))]
async fn rotate(
    _: Administrator,
    _: NoParams,
    State(api): State<Keys>,
    PathId(key_id): PathId<KeyId>,
) -> Result<Response, Problem> {
    made(api.keys.rotate(&key_id).await?, "../")
}
