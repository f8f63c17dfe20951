//! Who may do what: every route of the API's own description against every key, right and wrong.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::ids::PlacementId;
use clickledger_core::service::keys::{SESSION_MS, SignIn};
use serde_json::{Value, json};

use crate::world::{Answer, World, get, request, with};

const RANGE: &str = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z";
/// Operations that need no key.
const OPEN: [&str; 10] = [
    "DELETE /dashboard/session",
    "GET /click",
    "GET /healthz",
    "GET /readyz",
    "GET /v1/placements/{slot}",
    "HEAD /click",
    "OPTIONS /click",
    "OPTIONS /v1/placements/{slot}",
    "POST /click",
    "POST /dashboard/session",
];
/// Operations that a session alone opens.
const SIGNED_IN: [&str; 1] = ["GET /dashboard/session"];
/// Whose keys stand in the columns of [`routes`].
const SCOPES: [&str; 6] = [
    "another advertiser's",
    "a read-only",
    "the advertiser's",
    "the publisher's",
    "another publisher's",
    "an administrator's",
];

/// What somebody brings along.
enum Brought {
    Nothing,
    Header(String),
    /// A session's text, and what the browser says of the page that asks.
    Cookie(String, &'static str),
}

impl Brought {
    fn key(key: &str) -> Self {
        Self::Header(format!("Bearer {key}"))
    }

    fn session(session: &str) -> Self {
        Self::Cookie(session.to_owned(), "same-origin")
    }

    fn to(&self, method: &str, path: &str, body: Option<&Value>) -> Request<Body> {
        let asked = request(method, path, None, body.cloned());
        match self {
            Self::Nothing => asked,
            Self::Header(value) => with(asked, "authorization", value),
            Self::Cookie(session, site) => {
                let asked = with(asked, "sec-fetch-site", site);
                with(asked, "cookie", &format!("__Host-clickledger={session}"))
            }
        }
    }
}

/// One request of an operation of the description, and how it answers the keys of [`SCOPES`].
struct Route {
    operation: &'static str,
    path: String,
    body: Option<Value>,
    statuses: [u16; 6],
}

impl Route {
    fn method(&self) -> &'static str {
        self.operation.split_once(' ').unwrap().0
    }
}

/// What the rows of [`routes`] are about.
struct Things {
    ad: String,
    placement: String,
    /// Keys' ids, of which one is revoked and one rotated.
    victim: String,
    rotated: String,
}

fn routes(things: &Things) -> Vec<Route> {
    let Things {
        ad,
        placement,
        victim,
        rotated,
    } = things;
    let mut routes = Vec::new();
    let mut row = |operation, path: &str, body, statuses| {
        routes.push(Route {
            operation,
            path: path.to_owned(),
            body,
            statuses,
        });
    };
    let own = [404, 200, 200, 403, 403, 200];
    let admins = [403, 403, 403, 403, 403, 200];
    let admins_with = |status| [403, 403, 403, 403, 403, status];
    let metrics = |entity: &str| format!("/v1/{entity}/metrics?{RANGE}");
    let new_ad =
        json!({ "advertiser_id": "9", "campaign_id": "1009", "redirect_url": "https://shop.example/" });
    let hour = json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z" });

    row(
        "POST /v1/ads",
        "/v1/ads",
        Some(new_ad),
        [403, 403, 201, 403, 403, 201],
    );
    row("GET /v1/ads", "/v1/ads", None, [200, 200, 200, 403, 403, 200]);
    row("GET /v1/ads/{ad_id}", &format!("/v1/ads/{ad}"), None, own);
    row(
        "PATCH /v1/ads/{ad_id}",
        &format!("/v1/ads/{ad}"),
        Some(json!({ "title": "x" })),
        [404, 403, 200, 403, 403, 200],
    );
    row(
        "GET /v1/ads/{ad_id}/metrics",
        &metrics(&format!("ads/{ad}")),
        None,
        own,
    );
    row(
        "GET /v1/campaigns/{campaign_id}/metrics",
        &metrics("campaigns/1009"),
        None,
        own,
    );
    row(
        "GET /v1/advertisers/{advertiser_id}/metrics",
        &metrics("advertisers/9"),
        None,
        own,
    );
    row(
        "GET /v1/advertisers/{advertiser_id}/metrics",
        &format!(
            "{}&group_by=placement&granularity=total&order=-clicks",
            metrics("advertisers/9")
        ),
        None,
        own,
    );
    row(
        "GET /v1/placements/{placement_id}/metrics",
        &metrics(&format!("placements/{placement}")),
        None,
        [403, 403, 403, 200, 404, 200],
    );
    row(
        "GET /v1/metrics/total",
        &format!("/v1/metrics/total?{RANGE}"),
        None,
        admins,
    );
    row("GET /v1/reconciliations", "/v1/reconciliations", None, admins);
    row(
        "POST /v1/reconciliations",
        "/v1/reconciliations",
        Some(hour),
        admins_with(202),
    );
    row(
        "GET /v1/reconciliations/{hour}/corrections",
        "/v1/reconciliations/2026-01-01T00:00:00Z/corrections",
        None,
        [200, 200, 200, 403, 403, 200],
    );
    row(
        "GET /v1/campaigns/{campaign_id}/metrics",
        &format!(
            "{}&group_by=ad&granularity=total&order=-clicks",
            metrics("campaigns/1009")
        ),
        None,
        own,
    );
    let lists = [200, 200, 200, 403, 403, 200];
    row("GET /v1/advertisers", "/v1/advertisers", None, lists);
    row("GET /v1/campaigns", "/v1/campaigns", None, lists);
    row(
        "GET /v1/corrections",
        &format!("/v1/corrections?{RANGE}"),
        None,
        [200, 200, 200, 403, 403, 200],
    );
    row("GET /v1/operations", "/v1/operations", None, admins);
    row(
        "GET /v1/placements",
        "/v1/placements",
        None,
        [403, 403, 403, 200, 200, 200],
    );
    // What a key may not see is told of each entity by itself.
    let question = json!({
        "entities": [{ "entity": "ad", "id": ad }], "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z",
    });
    row(
        "POST /v1/metrics/query",
        "/v1/metrics/query",
        Some(question),
        [200; 6],
    );
    row(
        "PUT /v1/placements/{slot}",
        "/v1/placements/top",
        Some(json!({ "entries": [{ "ad_id": ad, "weight": 2 }] })),
        admins,
    );
    row(
        "GET /v1/placements/{slot}/entries",
        "/v1/placements/top/entries",
        None,
        admins,
    );
    row(
        "POST /v1/keys",
        "/v1/keys",
        Some(json!({ "scope": "admin" })),
        admins_with(201),
    );
    row("GET /v1/keys", "/v1/keys", None, admins);
    row(
        "GET /v1/keys/{key_id}",
        &format!("/v1/keys/{victim}"),
        None,
        admins,
    );
    row(
        "DELETE /v1/keys/{key_id}",
        &format!("/v1/keys/{victim}"),
        None,
        admins_with(204),
    );
    row(
        "POST /v1/keys/{key_id}/rotate",
        &format!("/v1/keys/{rotated}/rotate"),
        None,
        admins_with(201),
    );
    routes
}

/// What opens nothing, whatever is asked.
async fn wrong_keys(world: &World) -> Vec<(&'static str, Brought)> {
    let sign_in = async |key: &str| match world.keys.sign_in(key, None).await.unwrap() {
        SignIn::Done(_, session) => session.reveal(),
        SignIn::Wrong | SignIn::TooMany(_) => panic!("not signed in"),
    };
    let key = async || world.key(Scope::Admin).await;
    let id = |key: &str| key.split('_').nth(1).unwrap().parse().unwrap();

    // Begun now, and over when the others begin.
    let expired = sign_in(&world.admin).await;
    world.clock.advance(SESSION_MS);
    let (revoked, rotated) = (key().await, key().await);
    let of_revoked = sign_in(&revoked).await;
    world.keys.revoke(&id(&revoked)).await.unwrap();
    world.keys.rotate(&id(&rotated)).await.unwrap();
    let (ended, live) = (sign_in(&world.admin).await, sign_in(&world.admin).await);
    world.keys.sign_out(&ended).await.unwrap();
    let other = key().await;
    let (half, secret) = (&world.admin[..17], &other[17..]);
    assert!(half.ends_with('_'));

    vec![
        ("no", Brought::Nothing),
        ("a malformed", Brought::key("clk_x_y")),
        ("an empty", Brought::Header("Bearer ".to_owned())),
        (
            "a key by another scheme",
            Brought::Header(format!("Basic {}", world.admin)),
        ),
        ("an unknown", Brought::key(&format!("clk_AAAAAAAAAAAA_{secret}"))),
        ("half a", Brought::key(&format!("{half}{secret}"))),
        ("a revoked", Brought::key(&revoked)),
        ("a rotated", Brought::key(&rotated)),
        ("a session for a", Brought::key(&live)),
        ("a key for a session and no", Brought::session(&world.admin)),
        ("a malformed session and no", Brought::session("cls_x_y")),
        ("an expired session and no", Brought::session(&expired)),
        ("an ended session and no", Brought::session(&ended)),
        ("a revoked key's session and no", Brought::session(&of_revoked)),
        (
            "another site's page with a session and no",
            Brought::Cookie(live.clone(), "cross-site"),
        ),
        (
            "a neighbour's page with a session and no",
            Brought::Cookie(live.clone(), "same-site"),
        ),
        (
            "two sessions and no",
            Brought::session(&format!("{live}; __Host-clickledger={live}")),
        ),
    ]
}

fn described(document: &Value) -> (BTreeSet<String>, BTreeSet<String>, BTreeSet<String>) {
    let (mut keyed, mut signed_in, mut open) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            let security = operation["security"].as_array();
            let by = |scheme: &str| security.is_some_and(|all| all.iter().any(|one| !one[scheme].is_null()));
            match (by("key"), by("session")) {
                (true, _) => keyed.insert(name),
                (false, true) => signed_in.insert(name),
                (false, false) => open.insert(name),
            };
        }
    }
    (keyed, signed_in, open)
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn is_refused(answer: &Answer, about: &str, brought: &Brought) {
    assert_eq!(answer.status.as_u16(), 401, "{about}: {}", answer.text());
    answer.problem(401, "unauthorized");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer"), "{about}: {challenge}");
    let given = matches!(brought, Brought::Header(_));
    assert_eq!(challenge.contains("invalid_token"), given, "{about}");
    assert_eq!(answer.header("ratelimit"), None, "{about}");
}

#[tokio::test]
async fn every_route_of_the_description_answers_every_key_as_its_scope_says() {
    let world = World::new().await;
    let wrong = wrong_keys(&world).await;
    let ad = world.ad(9).await;
    world.ad(8).await;
    let placement = world.slot("top", &[&ad]).await;
    let other_placement = world.slot("other", &[&ad]).await;
    let publisher = async |id: &str| {
        let placement_ids = vec![id.parse::<PlacementId>().unwrap()];
        world.key(Scope::Publisher { placement_ids }).await
    };
    let key_id = |key: String| key.split('_').nth(1).unwrap().to_owned();
    let things = Things {
        ad,
        victim: key_id(world.advertiser(9, true).await),
        rotated: key_id(world.advertiser(9, true).await),
        placement: placement.clone(),
    };
    let keys = [
        world.advertiser(8, false).await,
        world.advertiser(9, true).await,
        world.advertiser(9, false).await,
        publisher(&placement).await,
        publisher(&other_placement).await,
        world.admin.clone(),
    ];
    let mut sessions = Vec::new();
    for key in &keys {
        let SignIn::Done(_, session) = world.keys.sign_in(key, None).await.unwrap() else {
            panic!("not signed in");
        };
        sessions.push(session.reveal());
    }

    // A new operation without a row here fails: whoever adds it says whom it answers.
    let routes = routes(&things);
    let document = world.send(get("/v1/openapi.json")).await.json();
    let (keyed, signed_in, open) = described(&document);
    let rows: Vec<&str> = routes.iter().map(|route| route.operation).collect();
    assert_eq!(keyed, set(&rows));
    assert_eq!(signed_in, set(&SIGNED_IN));
    assert_eq!(open, set(&OPEN));

    for route in &routes {
        let ask = async |brought: &Brought| {
            let asked = brought.to(route.method(), &route.path, route.body.as_ref());
            world.send(asked).await
        };
        for (whose, brought) in &wrong {
            let about = format!("{} with {whose} key", route.operation);
            is_refused(&ask(brought).await, &about, brought);
        }
        let operation = route.operation.split_once(' ').unwrap();
        let security = &document["paths"][operation.1][operation.0.to_lowercase()]["security"];
        let reads = security.as_array().unwrap().contains(&json!({ "session": [] }));
        assert_eq!(
            reads,
            route.method() == "GET" || operation.1 == "/v1/metrics/query",
            "{}: a session opens what reads",
            route.operation
        );
        // Sessions first: the keys after them change things.
        let with_sessions = sessions.iter().map(|session| (true, Brought::session(session)));
        let with_keys = keys.iter().map(|key| (false, Brought::key(key)));
        let columns = SCOPES.iter().zip(route.statuses);
        for ((whose, status), (by_session, brought)) in
            columns.clone().chain(columns).zip(with_sessions.chain(with_keys))
        {
            let by = if by_session { "session" } else { "key" };
            let about = format!("{} with {whose} {by}", route.operation);
            let answer = ask(&brought).await;
            if by_session && !reads {
                is_refused(&answer, &about, &brought);
                continue;
            }
            assert_eq!(answer.status.as_u16(), status, "{about}: {}", answer.text());
            assert!(answer.header("ratelimit").is_some(), "{about}");
            match status {
                403 => drop(answer.problem(403, "forbidden")),
                404 => drop(answer.problem(404, "not-found")),
                _ => {}
            }
            if *whose == "another advertiser's" {
                assert!(!answer.text().contains("shop-9"), "{about}: {}", answer.text());
            }
        }
    }
    // What a session alone opens, no key opens.
    for (whose, brought) in &wrong {
        let answer = world.send(brought.to("GET", "/dashboard/session", None)).await;
        assert_eq!(answer.status.as_u16(), 401, "{whose}: {}", answer.text());
    }
    let by_key = Brought::key(&world.admin).to("GET", "/dashboard/session", None);
    world.send(by_key).await.problem(401, "unauthorized");

    // What is another's looks exactly as what isn't there.
    let metrics = |entity: &str| format!("/v1/{entity}/metrics?{RANGE}");
    let ad = &things.ad;
    for (theirs, nobodys) in [
        (format!("/v1/ads/{ad}"), "/v1/ads/1".to_owned()),
        (metrics(&format!("ads/{ad}")), metrics("ads/1")),
        (metrics("campaigns/1009"), metrics("campaigns/1")),
        (metrics("advertisers/9"), metrics("advertisers/1")),
        (
            "/v1/ads?advertiser_id=9".to_owned(),
            "/v1/ads?advertiser_id=1".to_owned(),
        ),
        (
            "/v1/campaigns?advertiser_id=9".to_owned(),
            "/v1/campaigns?advertiser_id=1".to_owned(),
        ),
        (
            "/v1/ads?campaign_id=1009".to_owned(),
            "/v1/ads?campaign_id=1".to_owned(),
        ),
    ] {
        for brought in [Brought::key(&keys[0]), Brought::session(&sessions[0])] {
            let mut answers = Vec::new();
            for path in [&theirs, &nobodys] {
                let answer = world.send(brought.to("GET", path, None)).await;
                let mut document = answer.json();
                if let Some(document) = document.as_object_mut() {
                    document.remove("request_id");
                }
                answers.push((answer.status, document));
            }
            assert_eq!(answers[0], answers[1], "{theirs}");
        }
    }
}

#[tokio::test]
async fn an_advertiser_makes_ads_for_itself_only_and_joins_nobody_elses_campaign() {
    let world = World::new().await;
    world.ad(9).await;
    let key = world.advertiser(8, false).await;
    let make = async |advertiser: &str, campaign: &str, fan_out: Option<u32>| {
        let mut body = json!({
            "advertiser_id": advertiser, "campaign_id": campaign, "redirect_url": "https://shop.example/",
        });
        if let Some(fan_out) = fan_out {
            body["fan_out"] = json!(fan_out);
        }
        world
            .send(request("POST", "/v1/ads", Some(&key), Some(body)))
            .await
    };
    make("9", "1", None).await.problem(403, "forbidden");
    make("8", "1", Some(2)).await.problem(403, "forbidden");
    make("8", "1009", None)
        .await
        .problem_with(400, "invalid-body", "campaign_id");
    let own = make("8", "1", None).await;
    assert_eq!(own.status.as_u16(), 201, "{}", own.text());
    let path = format!("/v1/ads/{}", own.json()["ad_id"].as_str().unwrap());
    let change = async |body: Value| world.send(request("PATCH", &path, Some(&key), Some(body))).await;
    change(json!({ "campaign_id": "1009" }))
        .await
        .problem_with(400, "invalid-body", "campaign_id");
    change(json!({ "fan_out": 2 })).await.problem(403, "forbidden");
    change(json!({ "advertiser_id": "9" }))
        .await
        .problem_with(400, "invalid-body", "advertiser_id");
    // The campaign's counts must stay somebody's.
    change(json!({ "campaign_id": "2" }))
        .await
        .problem_with(400, "invalid-body", "campaign_id");
    assert_eq!(make("8", "1", None).await.status.as_u16(), 201);
    assert_eq!(
        change(json!({ "campaign_id": "2" })).await.json()["campaign_id"],
        "2"
    );
}

#[tokio::test]
async fn only_the_bearer_scheme_with_one_whole_key_opens() {
    let world = World::new().await;
    let admin = world.admin.clone();
    for (value, status) in [
        (format!("Bearer {admin}"), 200),
        (format!("bearer {admin}"), 200),
        (format!("BEARER   {admin}  "), 200),
        (admin.clone(), 401),
        (format!("Basic {admin}"), 401),
        (format!("Bearer{admin}"), 401),
        (format!("Bearer {admin}, Bearer {admin}"), 401),
        (format!("Bearer {}", &admin[..admin.len() - 1]), 401),
        (format!("Bearer {admin}A"), 401),
        (format!("Bearer {}", admin.to_uppercase()), 401),
        ("Bearer ".to_owned(), 401),
        ("Bearer clk_".to_owned(), 401),
        (String::new(), 401),
        ("\u{e4}".to_owned(), 401),
    ] {
        let asked = crate::world::with(request("GET", "/v1/ads", None, None), "authorization", &value);
        let answer = world.send(asked).await;
        assert_eq!(answer.status.as_u16(), status, "{value:?}");
    }
    let twice = crate::world::with(
        request("GET", "/v1/ads", Some(&admin), None),
        "authorization",
        &format!("Bearer {admin}"),
    );
    world.send(twice).await.problem(401, "unauthorized");
    // A key in the address would stand in logs: it is refused as any unknown parameter.
    let in_query = request("GET", &format!("/v1/ads?key={admin}"), Some(&admin), None);
    world
        .send(in_query)
        .await
        .problem_with(400, "invalid-parameter", "key");
}
