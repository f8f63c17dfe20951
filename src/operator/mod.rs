//! What operators ask of a deployed stack: `doctor` and `redrive`.
//!
//! Both speak to AWS, whose crates take minutes to build: they are in the feature `aws`. Invariant: without it the commands are
//! there, and say how to get them.

#[cfg(feature = "aws")]
mod doctor;
#[cfg(feature = "aws")]
mod lines;
#[cfg(feature = "aws")]
mod redrive;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::parse::{self, When};

/// What `doctor` is to look at.
#[derive(Debug, Args)]
#[cfg_attr(not(feature = "aws"), allow(dead_code))] // read by the feature's code
pub(crate) struct DoctorArgs {
    /// The CloudFormation stack
    #[arg(long, value_name = "NAME", env = "CLICKLEDGER_STACK")]
    stack: String,
    /// The peak that it is to take; if nothing is said, the one that it was deployed for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    clicks_per_second: Option<u64>,
}

/// What `redrive` is to put back.
#[derive(Debug, Args)]
#[cfg_attr(not(feature = "aws"), allow(dead_code))] // read by the feature's code
pub(crate) struct RedriveArgs {
    /// The CloudFormation stack
    #[arg(long, value_name = "NAME", env = "CLICKLEDGER_STACK")]
    stack: String,
    /// From when on the log is read
    #[arg(long, value_name = "TIME", default_value = "-14d", allow_hyphen_values = true, value_parser = parse::when)]
    from: When,
    /// Until when, exclusive
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true, value_parser = parse::when)]
    to: When,
    /// Read an exported log instead, one event a line; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to"])]
    file: Option<PathBuf>,
    /// Move the spill's dead letters back into the spill, instead of the log's records
    #[arg(long, conflicts_with_all = ["from", "to", "file"])]
    dead_letters: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

impl DoctorArgs {
    /// Looks, and says what it found.
    #[cfg(feature = "aws")]
    pub(crate) fn run(&self) -> Result<ExitCode> {
        on_aws(|operator| async move { doctor::run(self, &operator).await })
    }

    /// It was built without AWS.
    #[cfg(not(feature = "aws"))]
    pub(crate) fn run(&self) -> Result<ExitCode> {
        Err(not_built("doctor"))
    }
}

impl RedriveArgs {
    /// Puts records back, and says which.
    #[cfg(feature = "aws")]
    pub(crate) fn run(&self) -> Result<ExitCode> {
        on_aws(|operator| async move { redrive::run(self, &operator).await })
    }

    /// It was built without AWS.
    #[cfg(not(feature = "aws"))]
    pub(crate) fn run(&self) -> Result<ExitCode> {
        Err(not_built("redrive"))
    }
}

#[cfg(any(test, not(feature = "aws")))]
fn not_built(command: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "{command} speaks to AWS, which this build does not: cargo run --release --features aws -- {command} …"
    )
}

#[cfg(feature = "aws")]
fn on_aws<F>(run: impl FnOnce(clickledger_aws::Operator) -> F) -> Result<ExitCode>
where
    F: Future<Output = Result<ExitCode>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let clock = std::sync::Arc::new(clickledger_aws::SystemClock);
        let aws = clickledger_aws::Aws::from_env(clock).await?;
        run(aws.operator()).await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_aws_says_in_one_line_how_to_get_it() {
        let said = format!("{:#}", not_built("doctor"));
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains("cargo run --release --features aws -- doctor"),
            "{said}"
        );
    }
}
