//! The function `settle`: puts the clicks of the spill's queue back on the stream.
//!
//! Invariant: the queue keeps what was not acknowledged by the stream.

mod handler;

use std::sync::Arc;

use anyhow::{Result, anyhow};
use clickledger_aws::{Aws, CatalogOptions, Patience, SystemClock};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::service::paced::{Pace, Paced};
use clickledger_core::service::settle::{Settle, SettlePorts};
use clickledger_lambda::{batch, block_on, telemetry};

fn main() -> Result<()> {
    block_on(run())
}

async fn run() -> Result<()> {
    let telemetry = telemetry::start("settle")?;
    let clock = Arc::new(SystemClock);
    let aws = Aws::in_function(clock.clone())?;
    let patience = Patience::UNHURRIED;
    // What the stream goes on refusing is no more insisted on: the pace is to hear of it, and the queue keeps it.
    let stream = Arc::new(aws.stream(patience.within(2_000)).await?);
    let ports = SettlePorts {
        spill: Arc::new(aws.spill(patience)?),
        stream: Arc::new(Paced::new(stream, clock.clone(), Pace::default())),
        catalog: Arc::new(aws.catalog(None, CatalogOptions::unhurried(patience))?),
        clock,
    };
    let settle = Arc::new(Settle::new(ports, Mutation::default()));
    aws.warm(&["kinesis"]).await;
    let work = move |batch| {
        let settle = Arc::clone(&settle);
        async move { handler::work(&settle, &batch).await }
    };
    batch::run(work, telemetry).await.map_err(|error| anyhow!(error))
}
