//! The function `reconcile`: heartbeats each minute, and the runs that prove, seal and correct the counts.
//!
//! Invariant: a run that is ended in the middle leaves nothing that readers see, and the next one goes on.

mod handler;
mod on_aws;
mod wiring;

use std::sync::Arc;

use anyhow::{Result, anyhow};
use clickledger_aws::{Aws, SystemClock};
use clickledger_lambda::{batch, block_on, config, telemetry};

fn main() -> Result<()> {
    block_on(run())
}

async fn run() -> Result<()> {
    let telemetry = telemetry::start("reconcile")?;
    let aws = Aws::in_function(Arc::new(SystemClock))?;
    let function = config::required("AWS_LAMBDA_FUNCTION_NAME")?;
    let runs = Arc::new(wiring::runs(&aws, &function).await?);
    let work = move |event: batch::Batch| {
        let runs = Arc::clone(&runs);
        async move { handler::work(&*runs, event.json.get(), event.deadline_ms).await }
    };
    let done = batch::run_scheduled(work, telemetry).await;
    done.map_err(|error| anyhow!(error))
}
