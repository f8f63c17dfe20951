//! The function `aggregate`: folds the stream's batches into counts.
//!
//! Invariant: the environment keeps what it knows of a shard from one invocation to the next; it is never needed, only faster.

mod counted;
mod handler;

use std::sync::Arc;

use anyhow::{Result, anyhow};
use clickledger_aws::{Aws, CatalogOptions, Patience, SystemClock};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::service::aggregate::{Aggregate, AggregateConfig, AggregatePorts};
use clickledger_lambda::{batch, block_on, telemetry};

use crate::counted::Counted;

fn main() -> Result<()> {
    block_on(run())
}

async fn run() -> Result<()> {
    let telemetry = telemetry::start("aggregate")?;
    let clock = Arc::new(SystemClock);
    let aws = Aws::in_function(clock.clone())?;
    let patience = Patience::UNHURRIED;
    let options = CatalogOptions::unhurried(patience);
    let ports = AggregatePorts {
        claims: Arc::new(aws.claims(patience).await?),
        buckets: Arc::new(aws.buckets(patience)?),
        lanes: Arc::new(aws.lanes(patience)?),
        shards: Arc::new(aws.shards(patience)?),
        quarantine: Arc::new(Counted::new(aws.quarantine(patience)?)),
        seals: Arc::new(aws.hours(patience)?),
        catalog: Arc::new(aws.catalog(None, options)?),
        clock: clock.clone(),
    };
    let aggregate = Aggregate::new(ports, AggregateConfig::default(), Mutation::default());
    let aggregate = Arc::new(aggregate);
    aws.warm(&["dynamodb"]).await;
    let work = move |batch| {
        let (aggregate, clock) = (Arc::clone(&aggregate), clock.clone());
        async move { handler::work(&aggregate, &*clock, &batch).await }
    };
    batch::run(work, telemetry).await.map_err(|error| anyhow!(error))
}
