//! `/v1/openapi.json`: the API's own description, held against the API.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::reconciliations::{SEALED, sealed};
use crate::world::{World, get, request};

async fn description(world: &World) -> Value {
    let answer = world.send(get("/v1/openapi.json")).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

#[tokio::test]
async fn every_route_is_described_and_every_described_route_is_there() {
    let world = World::new().await;
    let document = description(&world).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.insert(format!("{} {path}", method.to_uppercase()));
            let asked = path
                .replace("{slot}", "top")
                .replace("{key_id}", "AAAAAAAAAAAA")
                .replace("{hour}", "2026-01-02T00:00:00Z")
                .replace("{ad_id}", "1")
                .replace("{campaign_id}", "1")
                .replace("{advertiser_id}", "1")
                .replace("{placement_id}", "1");
            assert!(!asked.contains('{'), "{path}");
            let answer = world
                .send(request(&method.to_uppercase(), &asked, None, None))
                .await;
            let open = operation["security"].is_null();
            assert_eq!(
                answer.status.as_u16() == 401,
                !open,
                "{method} {path}: {}",
                answer.status
            );
            assert_ne!(answer.status.as_u16(), 405, "{method} {path}");
            assert!(!answer.text().contains("no such resource"), "{method} {path}");
        }
    }
    let expected = [
        "DELETE /dashboard/session",
        "DELETE /v1/keys/{key_id}",
        "GET /click",
        "GET /dashboard/session",
        "GET /healthz",
        "GET /readyz",
        "GET /v1/ads",
        "GET /v1/ads/{ad_id}",
        "GET /v1/ads/{ad_id}/metrics",
        "GET /v1/advertisers",
        "GET /v1/advertisers/{advertiser_id}/metrics",
        "GET /v1/campaigns",
        "GET /v1/campaigns/{campaign_id}/metrics",
        "GET /v1/corrections",
        "GET /v1/keys",
        "GET /v1/keys/{key_id}",
        "GET /v1/metrics/total",
        "GET /v1/operations",
        "GET /v1/placements",
        "GET /v1/placements/{placement_id}/metrics",
        "GET /v1/placements/{slot}",
        "GET /v1/placements/{slot}/entries",
        "GET /v1/reconciliations",
        "GET /v1/reconciliations/{hour}/corrections",
        "HEAD /click",
        "OPTIONS /click",
        "OPTIONS /v1/placements/{slot}",
        "PATCH /v1/ads/{ad_id}",
        "POST /click",
        "POST /dashboard/session",
        "POST /v1/ads",
        "POST /v1/keys",
        "POST /v1/keys/{key_id}/rotate",
        "POST /v1/metrics/query",
        "POST /v1/reconciliations",
        "PUT /v1/placements/{slot}",
    ];
    assert_eq!(
        operations.iter().map(String::as_str).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(
        document["components"]["securitySchemes"]["key"],
        json!({ "type": "http", "scheme": "bearer", "bearerFormat": "clk_<key_id>_<secret>" })
    );
    assert_eq!(
        document["components"]["securitySchemes"]["session"],
        json!({ "type": "apiKey", "in": "cookie", "name": "__Host-clickledger" })
    );
    let security = |path: &str, method: &str| document["paths"][path][method]["security"].clone();
    assert_eq!(
        security("/v1/ads", "get"),
        json!([{ "key": [] }, { "session": [] }])
    );
    assert_eq!(security("/v1/ads", "post"), json!([{ "key": [] }]));
}

/// What is in `value` and not in its schema, and what the schema requires and is not in `value`.
fn differences(schemas: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/components/schemas/");
        return differences(schemas, &schemas[name], value, at, found);
    }
    if let Some(any) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let fits = any.iter().any(|one| {
            let mut found = Vec::new();
            differences(schemas, one, value, at, &mut found);
            found.is_empty()
        });
        if !fits {
            found.push(format!("{at}: {value} is none of {any:?}"));
        }
        return;
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => {
            found.push(format!("{at}: no type in {schema}"));
            return;
        }
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() && !kinds.contains(&"number") => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        found.push(format!("{at}: {value} is no {kinds:?}"));
    }
    if let (Some(items), Value::Array(values)) = (schema.get("items"), value) {
        for (n, value) in values.iter().enumerate() {
            differences(schemas, items, value, &format!("{at}[{n}]"), found);
        }
    }
    if let Value::Object(members) = value {
        for (name, value) in members {
            let at = format!("{at}.{name}");
            match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(schema), _) => differences(schemas, schema, value, &at, found),
                (None, Some(schema)) => differences(schemas, schema, value, &at, found),
                (None, None) => found.push(format!("{at} is not described")),
            }
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            if !members.contains_key(name.as_str().unwrap()) {
                found.push(format!("{at}.{name} is missing"));
            }
        }
    }
}

#[tokio::test]
async fn answers_have_the_described_shapes() {
    let world = World::new().await;
    let document = description(&world).await;
    let schemas = &document["components"]["schemas"];
    let ad = world.ad(9).await;
    sealed(&world, &ad).await;
    let placement = world.slot("top", &[&ad]).await;
    let key = world
        .ask(
            "POST",
            "/v1/keys",
            Some(json!({ "scope": "publisher", "placement_ids": [placement] })),
        )
        .await;
    world
        .send(get(&format!("/click?adId={ad}&imp={}", world.token("top").await)))
        .await;
    world.send(get(&format!("/click?adId={ad}"))).await;
    world.count().await;
    let range = "from=2026-01-02T00:00:00Z&to=2026-01-02T00:01:00Z&granularity=minute";
    let mut answers = vec![
        ("KeyView", key),
        ("AdView", world.ask("GET", &format!("/v1/ads/{ad}"), None).await),
        ("AdList", world.ask("GET", "/v1/ads", None).await),
        ("AdvertiserList", world.ask("GET", "/v1/advertisers", None).await),
        (
            "CampaignList",
            world.ask("GET", "/v1/campaigns?limit=1", None).await,
        ),
        (
            "PlacementView",
            world.ask("GET", "/v1/placements/top/entries", None).await,
        ),
        (
            "PlacementList",
            world.ask("GET", "/v1/placements?limit=1", None).await,
        ),
        ("ShownAd", world.send(get("/v1/placements/top")).await),
        ("KeyList", world.ask("GET", "/v1/keys", None).await),
        ("ReportList", world.ask("GET", "/v1/reconciliations", None).await),
        (
            "CorrectionList",
            world
                .ask("GET", &format!("/v1/reconciliations/{SEALED}/corrections"), None)
                .await,
        ),
        (
            "RestatementView",
            world
                .ask(
                    "POST",
                    "/v1/reconciliations",
                    Some(json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z" })),
                )
                .await,
        ),
        ("OperationsView", world.ask("GET", "/v1/operations", None).await),
        ("Health", world.send(get("/healthz")).await),
        (
            "SessionView",
            world
                .ask("POST", "/dashboard/session", Some(json!({ "key": world.admin })))
                .await,
        ),
        ("ProblemDocument", world.send(get("/click")).await),
        ("ProblemDocument", world.send(get("/x")).await),
    ];
    for more in [
        "",
        "&window=5m&limit=1",
        "&group_by=device",
        "&group_by=device,country",
        "&group_by=verdict",
        "&granularity=total&group_by=country&order=-clicks&compare=previous_year&limit=9",
        "&device=mobile,desktop&country=ZZ&compare=previous_period",
        "&metrics=invalid_click_rate,peak_minute",
    ] {
        let range = match more.contains("granularity") {
            true => range.trim_end_matches("&granularity=minute"),
            false => range,
        };
        for path in [format!("ads/{ad}/metrics"), "metrics/total".to_owned()] {
            let answer = world.ask("GET", &format!("/v1/{path}?{range}{more}"), None).await;
            assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
            answers.push(("MetricsDocument", answer));
        }
    }
    let batch = json!({
        "entities": [{ "entity": "ad", "id": ad }, { "entity": "campaign", "id": "1" }, { "entity": "total" }],
        "from": "2026-01-02T00:00:00Z", "to": "2026-01-02T00:01:00Z", "group_by": ["device"],
    });
    answers.push((
        "BatchDocument",
        world.ask("POST", "/v1/metrics/query", Some(batch)).await,
    ));
    let by_ad = format!("/v1/advertisers/9/metrics?{range}&group_by=ad");
    answers.push(("MetricsDocument", world.ask("GET", &by_ad, None).await));
    for (name, answer) in answers {
        let schema = schemas.get(name).unwrap_or_else(|| panic!("{name} in {schemas}"));
        let mut found = Vec::new();
        differences(schemas, schema, &answer.json(), name, &mut found);
        assert_eq!(found, Vec::<String>::new(), "{}", answer.text());
    }
}

/// The copy that people and tools read without a server.
#[test]
fn the_committed_copy_is_the_description() {
    assert!(
        include_str!("../../infra/openapi.json").trim_end() == clickledger_http::description(),
        "infra/openapi.json is not what the code describes; renew it:\n    cargo run -- openapi > infra/openapi.json"
    );
}

#[tokio::test]
async fn operations_have_names_of_their_own_and_every_reference_leads_somewhere() {
    let document = description(&World::new().await).await;
    let mut names = BTreeSet::new();
    let mut statuses = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(names.insert(name), "{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.keys().all(|status| status.parse::<u16>().is_ok()),
                "{method} {path}"
            );
            for status in ["500", "431"] {
                assert!(responses.contains_key(status), "{method} {path}");
            }
            if !operation["security"].is_null() {
                for status in ["401", "403", "429", "503"] {
                    assert!(responses.contains_key(status), "{method} {path}");
                }
            }
            statuses += responses.len();
        }
    }
    assert!(statuses > 200);
    let text = document.to_string();
    let mut references = 0;
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
        references += 1;
    }
    assert!(references > 100);
}

#[tokio::test]
async fn closed_lists_of_the_description_are_what_is_accepted() {
    let world = World::new().await;
    let document = description(&world).await;
    let path = "/v1/metrics/total";
    let range = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z";
    let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
    let mut tried = 0;
    for parameter in parameters {
        let name = parameter["name"].as_str().unwrap();
        let of = |schema: &Value| schema["enum"].as_array().cloned();
        let schema = &parameter["schema"];
        let words = of(schema).or_else(|| of(&schema["items"]));
        for word in words.into_iter().flatten() {
            let word = word.as_str().unwrap();
            let more = match (name, word) {
                ("order", _) => "&granularity=total&group_by=device",
                ("metrics", "peak_minute") => continue,
                _ => "",
            };
            let asked = format!("{path}?{range}&{name}={word}{more}");
            let answer = world.ask("GET", &asked, None).await;
            // No total has ads, and only advertisers have placements.
            let expected = if matches!(word, "ad" | "placement") {
                400
            } else {
                200
            };
            assert_eq!(answer.status.as_u16(), expected, "{asked}: {}", answer.text());
            tried += 1;
        }
    }
    assert!(tried > 270, "{tried}");
}

#[tokio::test]
async fn the_page_of_the_description_loads_what_is_beside_it_and_nothing_else() {
    let world = World::new().await;
    let page = world.send(get("/v1/docs")).await;
    assert_eq!(page.status.as_u16(), 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let html = page.text();
    assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
    let files: Vec<&str> = html
        .split(['"', '\''])
        .filter(|part| part.starts_with("docs/"))
        .collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        let answer = world.send(get(&format!("/v1/{file}"))).await;
        assert_eq!(answer.status.as_u16(), 200, "{file}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        let tag = answer.header("etag").unwrap().to_owned();
        let again = crate::world::with(get(&format!("/v1/{file}")), "if-none-match", &tag);
        assert_eq!(world.send(again).await.status.as_u16(), 304);
    }
    world.send(get("/v1/docs/x")).await.problem(404, "not-found");
}
