//! What every operation has, written into the description once: statuses, headers of answers, forms of ids.
//!
//! Invariant: no operation answers a status that its description lacks; `4XX` in an annotation stands for those that all like
//! it have.

use clickledger_core::domain::country::Country;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// The form of a numeric id.
const ID: &str = "^[1-9][0-9]{0,18}$";

/// A header, and what it says.
type Header = (&'static str, &'static str);

/// Problems by status: name, description, the header that comes with it.
const PROBLEMS: [(&str, &str, &str, Option<Header>); 12] = [
    (
        "400",
        "BadRequest",
        "A parameter or the body cannot be accepted; `errors` names each",
        None,
    ),
    (
        "401",
        "Unauthorized",
        "No key, or one that opens nothing",
        Some(("WWW-Authenticate", "How to come with one")),
    ),
    ("403", "Forbidden", "The key may not do this", None),
    (
        "404",
        "NotFound",
        "There is nothing here that the key may see",
        None,
    ),
    ("412", "VersionConflict", "The stored version is another", None),
    ("413", "BodyTooLarge", "The body is too large", None),
    (
        "415",
        "UnsupportedMediaType",
        "The body is of a type that is not read here",
        None,
    ),
    (
        "422",
        "Unprocessable",
        "Understood, and not to be done: too long a range, a destination that no ad may have",
        None,
    ),
    (
        "429",
        "RateLimited",
        "Too many requests of this key",
        Some(("Retry-After", "Seconds until the next may come")),
    ),
    (
        "431",
        "HeadersTooLarge",
        "Path, query or headers are too long",
        None,
    ),
    ("500", "Internal", "Something went wrong here", None),
    (
        "503",
        "Unavailable",
        "A store does not answer: try again",
        Some(("Retry-After", "Seconds until it is worth a try")),
    ),
];

/// The whole description.
pub(crate) fn complete(document: OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    // Relative to the address of the description: one step up from /v1.
    document["servers"] = json!([{ "url": ".." }]);
    let mut responses = Map::new();
    for (_, name, description, header) in PROBLEMS {
        let mut response = json!({
            "description": description,
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/ProblemDocument" } } },
        });
        if let Some((header, says)) = header {
            response["headers"] = json!({ header: { "description": says, "schema": { "type": "string" } } });
        }
        responses.insert(name.to_owned(), response);
    }
    document["components"]["responses"] = Value::Object(responses);
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                add_responses(path, method, operation);
                let of_metrics = path.ends_with("/metrics") || path == "/v1/metrics/total";
                for parameter in items(operation, "parameters") {
                    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
                    if let Some(schema) = parameter.get_mut("schema") {
                        constrain(&name, schema, of_metrics);
                    }
                }
            }
        }
    }
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        for schema in schemas.values_mut() {
            let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
            for (name, property) in properties.into_iter().flatten() {
                if name != "limit" {
                    constrain(name, property, true);
                }
            }
        }
    }
    document
}

/// The members of a list, where there is one.
fn items<'a>(value: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = value.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

/// The statuses that an operation of this kind has, where its own annotation has no other word for them.
fn add_responses(path: &str, method: &str, operation: &mut Value) {
    let keyed = !operation["security"].is_null();
    let has_body = !operation["requestBody"].is_null();
    let of_range = items(operation, "parameters").any(|parameter| parameter["name"] == "from");
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    let like_others = responses.remove("4XX").is_some();
    // Every request may be too long, and every handler may break.
    let mut statuses = vec!["431", "500"];
    if path.starts_with("/v1/") || path == "/dashboard/session" {
        statuses.extend(["400", "503"]);
        if path.contains('{') {
            statuses.push("404");
        }
    }
    if keyed {
        statuses.extend(["401", "403", "429"]);
    }
    if has_body {
        statuses.extend(["413", "415"]);
    }
    match method {
        _ if !like_others => {}
        "get" if of_range => statuses.push("422"),
        "put" | "patch" => statuses.extend(["404", "412", "422"]),
        "post" if has_body => statuses.extend(["404", "422"]),
        _ => {}
    }
    for (status, name, ..) in PROBLEMS.iter().filter(|(status, ..)| statuses.contains(status)) {
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        responses.entry(*status).or_insert(reference);
    }
}

/// What a parameter or field of this name is like everywhere.
fn constrain(name: &str, schema: &mut Value, of_metrics: bool) {
    match name {
        "ad_id" | "campaign_id" | "advertiser_id" | "placement_id" if schema["type"] == "string" => {
            schema["pattern"] = json!(ID);
        }
        "slot" if schema["type"] == "string" => schema["pattern"] = json!("^[a-z0-9-]{1,64}$"),
        "limit" if !of_metrics => {
            schema["minimum"] = json!(1);
            schema["maximum"] = json!(1000);
        }
        "country" if !schema["items"].is_null() => {
            let all: Vec<&str> = (0..=u8::MAX)
                .filter_map(Country::from_index)
                .map(|country| country.as_str())
                .collect();
            schema["items"] = json!({ "type": "string", "enum": all });
        }
        _ => {}
    }
    // A list in an address or a body names something, and nothing twice.
    if matches!(name, "device" | "country" | "metrics") && !schema["items"].is_null() {
        schema["uniqueItems"] = json!(true);
        schema["minItems"] = json!(1);
    }
}
