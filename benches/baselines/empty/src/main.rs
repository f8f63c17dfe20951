//! A function that does nothing, as `cargo lambda new` makes one: what the runtime itself costs.
//!
//! Invariant: it reads its event and answers; nothing else, so that everything above its figures is a handler's own.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let answer = |_: LambdaEvent<Value>| async { Ok::<_, Error>(json!({ "statusCode": 204 })) };
    lambda_runtime::run(service_fn(answer)).await
}
