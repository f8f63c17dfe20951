use axum::extract::ConnectInfo;
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::routing::any;

use super::*;

/// As API Gateway sends it, with what nobody reads.
fn event(changes: serde_json::Value) -> HttpEvent {
    let mut event = serde_json::json!({
        "version": "2.0",
        "routeKey": "GET /click",
        "rawPath": "/click",
        "rawQueryString": "adId=7&imp=a%20b",
        "cookies": ["a=1", "b=2"],
        "headers": {"user-agent": "Mozilla/5.0", "x-forwarded-for": "192.0.2.1, 192.0.2.2"},
        "queryStringParameters": {"adId": "7"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc",
            "http": {"method": "GET", "path": "/click", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.9", "userAgent": "Mozilla/5.0"},
            "requestId": "JKJaXmPLvHcESHA=",
            "stage": "$default",
            "timeEpoch": 1_767_312_000_000_i64
        },
        "isBase64Encoded": false
    });
    let serde_json::Value::Object(changes) = changes else {
        unreachable!()
    };
    event.as_object_mut().unwrap().extend(changes);
    serde_json::from_value(event).unwrap()
}

async fn echo(
    method: Method,
    uri: Uri,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let cookies = headers
        .get(header::COOKIE)
        .map(|c| c.to_str().unwrap().to_owned());
    let text = format!(
        "{method} {uri} {} {cookies:?} {}",
        peer.ip(),
        String::from_utf8_lossy(&body)
    );
    ([("x-one", "1"), ("set-cookie", "c=3")], text)
}

async fn answered(event: HttpEvent) -> serde_json::Value {
    serde_json::to_value(answer(Router::new().fallback(any(echo)), event).await).unwrap()
}

#[tokio::test]
async fn a_request_reaches_the_router_as_it_was_sent() {
    let answer = answered(event(serde_json::json!({}))).await;
    assert_eq!(answer["statusCode"], 200);
    assert_eq!(
        answer["body"],
        "GET /click?adId=7&imp=a%20b 192.0.2.9 Some(\"a=1; b=2\") "
    );
    assert_eq!(answer["headers"]["x-one"], "1");
    assert_eq!(answer["cookies"], serde_json::json!(["c=3"]));
    assert_eq!(answer["isBase64Encoded"], false);
}

#[tokio::test]
async fn bodies_come_as_text_or_base64() {
    for (body, encoded) in [("a=b", false), ("YT1i", true)] {
        let answer = answered(event(
            serde_json::json!({"body": body, "isBase64Encoded": encoded}),
        ))
        .await;
        assert!(answer["body"].as_str().unwrap().ends_with(" a=b"), "{answer}");
    }
    let answer = answered(event(serde_json::json!({"body": "%%%", "isBase64Encoded": true}))).await;
    assert_eq!(answer["statusCode"], 400);
}

#[tokio::test]
async fn what_api_gateway_has_decoded_is_encoded_again() {
    let answer = answered(event(
        serde_json::json!({"rawPath": "/a b/ü{", "rawQueryString": ""}),
    ))
    .await;
    assert!(
        answer["body"]
            .as_str()
            .unwrap()
            .starts_with("GET /a%20b/%C3%BC%7B "),
        "{answer}"
    );
    let answer = answered(event(serde_json::json!({"rawPath": ""}))).await;
    assert!(
        answer["body"].as_str().unwrap().starts_with("GET /?adId=7"),
        "{answer}"
    );
}

#[tokio::test]
async fn bytes_that_are_no_text_go_out_as_base64() {
    let router = Router::new().fallback(any(|| async { vec![0xff_u8, 0x00] }));
    let answer = answer(router, event(serde_json::json!({}))).await;
    assert_eq!((answer.body.as_str(), answer.is_base64_encoded), ("/wA=", true));
}

#[tokio::test]
async fn several_headers_of_a_name_are_joined() {
    let router = Router::new().fallback(any(|| async {
        let mut headers = HeaderMap::new();
        for value in ["a", "b", "c"] {
            headers.append("x-many", HeaderValue::from_static(value));
        }
        headers
    }));
    let answer = serde_json::to_value(answer(router, event(serde_json::json!({}))).await).unwrap();
    assert_eq!(answer["headers"]["x-many"], "a, b, c");
}
