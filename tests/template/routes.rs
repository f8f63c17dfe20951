//! The API: its routes are those of the routers' own description, and its log holds nothing personal.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cloudformation::{of_type, properties, template};
use crate::world::World;

/// A path with its parameters unnamed: API Gateway wants one name at one place, the description has telling ones.
fn unnamed(path: &str) -> String {
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Which function serves the routes of a tag.
fn function_of(tag: &str) -> &'static str {
    match tag {
        "click" => "Click",
        "ads" | "placements" => "Placement",
        "metrics" | "reconciliations" | "operations" | "keys" | "session" | "health" => "Query",
        other => panic!("no function serves the tag {other}"),
    }
}

fn routed(template: &Value) -> BTreeMap<String, String> {
    let routes = of_type(template, "AWS::ApiGatewayV2::Route");
    let count = routes.len();
    let routed: BTreeMap<String, String> = routes
        .into_iter()
        .map(|(id, route)| {
            let key = route["Properties"]["RouteKey"].as_str().unwrap();
            let (method, path) = key.split_once(' ').unwrap();
            // The routers know the methods: a wrong one is answered with a problem document.
            assert_eq!(method, "ANY", "{id}");
            let target = route["Properties"]["Target"]["Fn::Sub"].as_str().unwrap();
            let integration = target
                .strip_prefix("integrations/${")
                .unwrap()
                .strip_suffix('}')
                .unwrap();
            let uri = &properties(template, integration)["IntegrationUri"]["Fn::GetAtt"][0];
            let function = uri.as_str().unwrap().strip_suffix("Function").unwrap();
            (unnamed(path), function.to_owned())
        })
        .collect();
    assert_eq!(routed.len(), count, "two routes for one path");
    routed
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_the_paths_of_the_apis_own_description_and_lead_to_the_function_that_serves_them() {
    let description = World::new()
        .await
        .ask("GET", "/v1/openapi.json", None)
        .await
        .json();
    let mut described: BTreeMap<String, String> = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, operations)| {
            let functions: BTreeSet<&str> = operations
                .as_object()
                .unwrap()
                .values()
                .map(|operation| function_of(operation["tags"][0].as_str().unwrap()))
                .collect();
            assert_eq!(functions.len(), 1, "{path} is served by one function");
            (unnamed(path), functions.into_iter().next().unwrap().to_owned())
        })
        .collect();
    // Pages are not of the API: its description does not name them.
    for page in [
        "/v1/openapi.json",
        "/v1/docs",
        "/v1/docs/{}",
        "/dashboard",
        "/dashboard/{}",
    ] {
        described.insert(page.to_owned(), "Query".to_owned());
    }
    assert_eq!(routed(&template("template.yaml")), described);
}

#[test]
fn parameters_of_paths_have_one_name_at_one_place() {
    let template = template("template.yaml");
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for (_, route) in of_type(&template, "AWS::ApiGatewayV2::Route") {
        let path = route["Properties"]["RouteKey"].as_str().unwrap();
        let parts: Vec<&str> = path.split('/').collect();
        for (at, part) in parts.iter().enumerate().filter(|(_, part)| part.starts_with('{')) {
            let place = unnamed(&parts[..at].join("/"));
            assert_eq!(*names.entry(place).or_insert(part), *part, "{path}");
        }
    }
    assert!(names.len() > 3, "{names:?}");
}

#[test]
fn clicks_are_throttled_by_parameters_of_their_own_and_integrations_speak_payload_2() {
    let template = template("template.yaml");
    let stage = properties(&template, "ApiStage");
    let click = &stage["RouteSettings"]["ANY /click"];
    assert_eq!(click["ThrottlingRateLimit"]["Ref"], "ClickRateLimit");
    assert_eq!(click["ThrottlingBurstLimit"]["Ref"], "ClickBurstLimit");
    assert_eq!(
        stage["DefaultRouteSettings"]["ThrottlingRateLimit"]["Ref"],
        "ApiRateLimit"
    );
    assert_eq!(
        stage["DefaultRouteSettings"]["ThrottlingBurstLimit"]["Ref"],
        "ApiBurstLimit"
    );
    // Settings of a route that is not there yet fail the stage.
    assert_eq!(template["Resources"]["ApiStage"]["DependsOn"], "ClickRoute");
    assert_eq!(stage["AutoDeploy"], true);
    for (id, integration) in of_type(&template, "AWS::ApiGatewayV2::Integration") {
        assert_eq!(integration["Properties"]["PayloadFormatVersion"], "2.0", "{id}");
        let function = integration["Properties"]["IntegrationUri"]["Fn::GetAtt"][0]
            .as_str()
            .unwrap();
        let seconds = properties(&template, function)["Timeout"].as_u64().unwrap();
        assert_eq!(
            integration["Properties"]["TimeoutInMillis"].as_u64().unwrap(),
            seconds * 1000,
            "{id}"
        );
    }
}

#[test]
fn access_log_holds_route_and_status_and_nothing_of_the_client() {
    let template = template("template.yaml");
    let format = properties(&template, "ApiStage")["AccessLogSettings"]["Format"]
        .as_str()
        .unwrap();
    let variables: Vec<&str> = format
        .split('$')
        .skip(1)
        .map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '.')
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(
        variables,
        [
            "context.requestId",
            "context.requestTimeEpoch",
            "context.routeKey",
            "context.status",
            "context.responseLatency"
        ]
    );
}

#[test]
fn behind_a_custom_domain_the_default_endpoint_is_off_and_a_proxy_is_trusted_by_its_secret_only() {
    let template = template("template.yaml");
    let off = &properties(&template, "Api")["DisableExecuteApiEndpoint"];
    assert_eq!(*off, serde_json::json!({ "Fn::If": ["HasDomain", true, false] }));
    for function in ["ClickFunction", "PlacementFunction", "QueryFunction"] {
        let variables = &properties(&template, function)["Environment"]["Variables"];
        for name in ["CLICKLEDGER_PROXY_HOPS", "CLICKLEDGER_PROXY_SECRET_ARN"] {
            assert_eq!(variables[name]["Fn::If"][0], "HasProxy", "{function}");
        }
    }
    assert_eq!(template["Resources"]["ProxySecret"]["Condition"], "HasProxy");
    assert_eq!(template["Parameters"]["TrustedProxyHops"]["Default"], 0);
}
