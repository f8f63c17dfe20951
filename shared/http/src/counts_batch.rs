//! `POST /v1/metrics/query`: one question about many entities.
//!
//! Invariant: each entity is judged by the caller's key as if it had been asked for alone, and a refusal of one tells nothing
//! about another; what is wrong with the question itself refuses all of it.

use std::borrow::Cow;
use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::entity::Entity;
use clickledger_core::service::ads::FieldError;
use clickledger_core::service::metrics::{MetricsPage, QueryError};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::auth::{Api, Caller};
use crate::counts::{Counts, may_ask_for};
use crate::counts_query::{Asked, MAX_ROWS, problem};
use crate::counts_schema::{BatchDocument, MetricsQueryBody};
use crate::params::{NoParams, Params};
use crate::problem::{Kind, Problem, ProblemDocument, request_id};
use crate::request_body::{JsonBody, Object};

/// Most entities of one question.
const MAX_ENTITIES: usize = 100;
/// Most of one that each is broken down by ads or placements, of which one may have a whole page to be read.
const MAX_BROKEN_DOWN: usize = 10;
/// Entities that are read at the same time.
const AT_ONCE: usize = 4;
/// What may be said beside the entities; of each entity as its own address takes it.
const KNOWN: [&str; 12] = [
    "from",
    "to",
    "granularity",
    "group_by",
    "tz",
    "window",
    "device",
    "country",
    "metrics",
    "order",
    "compare",
    "limit",
];

/// The question as it comes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchBody {
    entities: Vec<Object<EntityBody>>,
    from: Option<String>,
    to: Option<String>,
    granularity: Option<String>,
    group_by: Option<Vec<String>>,
    tz: Option<String>,
    window: Option<String>,
    device: Option<Vec<String>>,
    country: Option<Vec<String>>,
    metrics: Option<Vec<String>>,
    order: Option<String>,
    compare: Option<String>,
    limit: Option<u64>,
}

/// An entity.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntityBody {
    entity: String,
    id: Option<String>,
}

/// An entity, and its id as it was written.
type Named = (Entity, Option<String>);

/// An answer for every entity, in the order of the question.
#[derive(Serialize)]
struct Results<'a> {
    results: Vec<Outcome<'a>>,
}

/// One entity's.
#[derive(Serialize)]
struct Outcome<'a> {
    entity: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(flatten)]
    found: Found<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Found<'a> {
    Page(&'a MetricsPage),
    Refused { problem: ProblemDocument<'a> },
}

/// The clicks of many entities.
#[utoipa::path(post, path = "/v1/metrics/query", tag = "metrics", operation_id = "query_metrics", security(("key" = [])),
    request_body = MetricsQueryBody,
    responses(
        (status = 200, body = BatchDocument, description = "An answer or a problem for each entity, in the order of the question"),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused: something is wrong with the question itself"),
    ))]
pub(crate) async fn query_metrics(
    caller: Caller,
    _: NoParams,
    State(api): State<Api<Counts>>,
    JsonBody(body): JsonBody<BatchBody>,
) -> Result<Response, Problem> {
    let (named, asked) = api.of.understand_batch(body)?;
    let (counts, scope) = (&api.of, caller.scope());
    let entities: Vec<Entity> = named.iter().map(|(entity, _)| *entity).collect();
    let asked = &asked;
    let reads: Vec<_> = entities
        .iter()
        .map(|entity| counts.of_one(scope, asked, *entity))
        .collect();
    let mut reads = stream::iter(reads).buffered(AT_ONCE);
    let mut found = Vec::with_capacity(entities.len());
    while let Some(one) = reads.next().await {
        found.push(one?);
    }
    let results = named.iter().zip(&found).map(|((entity, id), found)| Outcome {
        entity: entity.kind(),
        id: id.as_deref(),
        found: match found {
            Ok(page) => Found::Page(page),
            Err(problem) => Found::Refused {
                problem: problem.document(request_id()),
            },
        },
    });
    let results = Results {
        results: results.collect(),
    };
    Ok(Json(results).into_response())
}

impl Counts {
    /// The entities with their ids as they were written, and what is asked of each.
    fn understand_batch(&self, body: BatchBody) -> Result<(Vec<Named>, Asked), Problem> {
        let refuse = |name: &'static str, reason: String| {
            Problem::of(Kind::InvalidBody, vec![FieldError::new(name, reason)])
        };
        let count = body.entities.len();
        if !(1..=MAX_ENTITIES).contains(&count) {
            return Err(refuse("entities", format!("must be 1 to {MAX_ENTITIES}")));
        }
        let (mut named, mut errors) = (Vec::with_capacity(count), Vec::new());
        for (place, Object(EntityBody { entity, id })) in body.entities.into_iter().enumerate() {
            match entity_of(&entity, id.as_deref()) {
                Ok(known) => named.push((known, id)),
                Err((name, reason)) => {
                    errors.push(FieldError::new(format!("entities[{place}].{name}"), reason));
                }
            }
        }
        let mut asked_for = HashSet::new();
        for (place, (entity, _)) in named.iter().enumerate() {
            if errors.is_empty() && !asked_for.insert(*entity) {
                let reason = "is asked for already".to_owned();
                errors.push(FieldError::new(format!("entities[{place}].id"), reason));
            }
        }
        if !errors.is_empty() {
            return Err(Problem::of(Kind::InvalidBody, errors));
        }
        let by_members = |words: &Vec<String>| words.iter().any(|word| word == "ad" || word == "placement");
        if count > MAX_BROKEN_DOWN && body.group_by.as_ref().is_some_and(by_members) {
            let reason =
                format!("must be 1 to {MAX_BROKEN_DOWN} where each is broken down by ad or placement");
            return Err(refuse("entities", reason));
        }
        // All of an answer is one document: together it has the rows of one page.
        let most = MAX_ROWS / count;
        let limit = body.limit.unwrap_or(most as u64);
        if !(1..=most as u64).contains(&limit) {
            let reason =
                format!("must be a whole number from 1 to {most}: {MAX_ROWS} rows for all {count} entities");
            return Err(refuse("limit", reason));
        }
        let texts = [
            ("from", body.from),
            ("to", body.to),
            ("granularity", body.granularity),
            ("group_by", body.group_by.map(|words| words.join(","))),
            ("tz", body.tz),
            ("window", body.window),
            ("device", body.device.map(|words| words.join(","))),
            ("country", body.country.map(|words| words.join(","))),
            ("metrics", body.metrics.map(|words| words.join(","))),
            ("order", body.order),
            ("compare", body.compare),
            ("limit", Some(limit.to_string())),
        ];
        let given = texts
            .into_iter()
            .filter_map(|(name, text)| Some((Cow::Borrowed(name), Cow::Owned(text?))));
        let asked = self.read(Params::of(given, &KNOWN), Kind::InvalidBody, false)?;
        Ok((named, asked))
    }

    /// One entity's page, or why there is none. An error is what ends all of the question: a store that does not answer, a parameter
    /// that no entity could be asked with.
    async fn of_one(
        &self,
        scope: &Scope,
        asked: &Asked,
        entity: Entity,
    ) -> Result<Result<Box<MetricsPage>, Problem>, Problem> {
        let owned = async {
            may_ask_for(scope, entity)?;
            self.must_own(scope, entity).await?;
            self.question(asked, entity).await
        };
        let query = match owned.await {
            Ok(query) => query,
            Err(problem) if is_of_one(&problem) => return Ok(Err(problem)),
            Err(problem) => return Err(problem),
        };
        match self.metrics.query(&query).await {
            Ok(page) => Ok(Ok(Box::new(page))),
            Err(error @ (QueryError::InvalidParameters(_) | QueryError::Store(_))) => {
                Err(problem(error, Kind::InvalidBody))
            }
            Err(error) => Ok(Err(problem(error, Kind::InvalidBody))),
        }
    }
}

/// Whether a refusal is about the entity, not about the question or a store.
fn is_of_one(problem: &Problem) -> bool {
    matches!(problem.kind(), Kind::Forbidden | Kind::NotFound)
}

/// The entity of this kind and id, or what is wrong with which of them.
fn entity_of(kind: &str, id: Option<&str>) -> Result<Entity, (&'static str, String)> {
    fn read<T: std::str::FromStr>(id: Option<&str>) -> Result<T, (&'static str, String)>
    where
        T::Err: std::fmt::Display,
    {
        let id = id.ok_or_else(|| ("id", "is missing".to_owned()))?;
        id.parse().map_err(|error: T::Err| ("id", error.to_string()))
    }
    match (kind, id) {
        ("ad", id) => read(id).map(Entity::Ad),
        ("campaign", id) => read(id).map(Entity::Campaign),
        ("advertiser", id) => read(id).map(Entity::Advertiser),
        ("placement", id) => read(id).map(Entity::Placement),
        ("total", None) => Ok(Entity::Total),
        ("total", Some(_)) => Err(("id", "is not for total".to_owned())),
        _ => Err((
            "entity",
            "must be ad, campaign, advertiser, placement or total".to_owned(),
        )),
    }
}
