//! The `clickledger` command: the whole pipeline in one process, clients of its API, and a load generator.
//!
//! Exit codes: 0 done, 1 failed, 2 wrongly called or configured. A closed pipe is no failure: whoever reads may stop.

mod client;
mod config;
mod demo;
mod folder;
mod load;
mod operator;
mod parse;
mod pipeline;
mod progress;
mod sealing;
mod serve;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Counts ad clicks so exactly that money can be paid on the counts.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 110)]
#[command(
    after_help = "Begin with:\n  clickledger serve\n\nand open the address that it prints; or, to see it full:\n  clickledger demo\n  \
    clickledger serve --data ./clickledger-demo\n\nThe client commands need a key, in CLICKLEDGER_KEY: the first start of serve prints one, \
    and so does demo."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole pipeline in this process
    #[command(
        after_help = "Examples:\n  clickledger serve\n  clickledger serve --listen 127.0.0.1:0 --data /var/lib/clickledger --shards 4\n\n\
        At the first start on a loopback address it prints an administration key, once. CLICKLEDGER_ADMIN_KEY in the \
        environment sets an administration key instead; `clickledger keys generate` makes one to put there."
    )]
    Serve(config::ServeArgs),
    /// Fill a new data folder with weeks of believable traffic, to look at
    #[command(
        after_help = "Examples:\n  clickledger demo\n  clickledger demo --data /tmp/demo --days 62 --clicks 1000000 --seed 7\n\n\
        Then `clickledger serve --data …` with the same folder, and the page /dashboard."
    )]
    Demo(demo::DemoArgs),
    /// Make, list, show and change ads
    #[command(subcommand)]
    Ads(client::ads::Command),
    /// Set, list and show placements: slots, and the ads in them
    #[command(subcommand)]
    Placements(client::placements::Command),
    /// Make, list, revoke and rotate API keys
    #[command(subcommand)]
    Keys(client::keys::Command),
    /// Counts by the minute, hour or day
    Metrics(client::metrics::Command),
    /// Recount a past range, show what differs, and correct it; or show what sealing found
    #[command(
        after_help = "Examples:\n  clickledger reconcile --from 2026-01-01 --to 2026-01-02 --dry-run\n  clickledger reconcile --from -7d --to today --yes\n  \
        clickledger reconcile --from yesterday --to today --data /var/lib/clickledger\n  clickledger reconcile report --from -1d"
    )]
    Reconcile(client::reconcile::Command),
    /// Print the API's description (OpenAPI 3.1), as a server has it at /v1/openapi.json
    Openapi,
    /// Click at a given rate, and compare what was sent with what is counted
    Load(load::LoadArgs),
    /// Hold a stack on AWS, and its account, against a wanted peak
    #[command(
        after_help = "Example:\n  clickledger doctor --stack clickledger-prod --clicks-per-second 10000\n\n\
        Region and credentials come from where the AWS CLI takes them; it only reads. It is in builds with --features aws."
    )]
    Doctor(operator::DoctorArgs),
    /// Put clicks back that lie in the last-resort log or among the dead letters of a stack on AWS
    #[command(
        after_help = "Examples:\n  clickledger redrive --stack clickledger-prod --from -2h --dry-run\n  \
        clickledger redrive --stack clickledger-prod --file exported.log\n  \
        clickledger redrive --stack clickledger-prod --dead-letters\n\n\
        A record that is put back twice is counted once. It is in builds with --features aws."
    )]
    Redrive(operator::RedriveArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Ads(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Placements(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Keys(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Metrics(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Reconcile(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Openapi => writeln!(io::stdout().lock(), "{}", clickledger_http::description())
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
        Command::Load(args) => load::run(&args),
        Command::Doctor(args) => args.run(),
        Command::Redrive(args) => args.run(),
    };
    done.unwrap_or_else(|error| {
        if pipe_closed(&error) {
            return ExitCode::SUCCESS;
        }
        // Nothing can be done about a closed standard error; the exit code says it too.
        let _ = writeln!(io::stderr(), "clickledger: {error:#}");
        let badly_configured =
            error.is::<config::BadSetting>() || error.is::<config::BadFile>() || error.is::<config::Half>();
        ExitCode::from(if badly_configured { 2 } else { 1 })
    })
}

fn pipe_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause
            .downcast_ref::<serde_json::Error>()
            .and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}
