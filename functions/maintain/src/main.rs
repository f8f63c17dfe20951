//! The function `maintain`: what schedules do: the catalogue's snapshot each minute, new token keys each month.
//!
//! Invariant: it does what the event names, and nothing else.

mod handler;

use std::sync::Arc;

use anyhow::{Result, anyhow};
use clickledger_aws::{Aws, Patience, SystemClock, TokenKeysOptions};
use clickledger_lambda::{batch, block_on, telemetry};

use crate::handler::OnAws;

fn main() -> Result<()> {
    block_on(run())
}

async fn run() -> Result<()> {
    let telemetry = telemetry::start("maintain")?;
    let aws = Aws::in_function(Arc::new(SystemClock))?;
    let tasks = Arc::new(OnAws {
        snapshot: aws.snapshot_writer(Patience::UNHURRIED)?,
        keys: aws.token_keys(TokenKeysOptions::default())?,
    });
    let work = move |event: batch::Batch| {
        let tasks = Arc::clone(&tasks);
        async move { handler::work(&*tasks, event.json.get()).await }
    };
    let done = batch::run_scheduled(work, telemetry).await;
    done.map_err(|error| anyhow!(error))
}
