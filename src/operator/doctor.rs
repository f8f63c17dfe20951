//! `clickledger doctor`: a deployed stack and its account against a wanted peak.
//!
//! Invariant: its exit code is 1 if anything is too low or wrong, and it says what to do about each.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clickledger_aws::{Finding, Health, Operator};

use super::DoctorArgs;

pub(super) async fn run(args: &DoctorArgs, operator: &Operator) -> Result<ExitCode> {
    let stack = operator.stack(&args.stack).await;
    let stack = stack.with_context(|| format!("the stack {} (cloudformation:DescribeStacks)", args.stack))?;
    let deployed = stack.parameters.get("PeakClicksPerSecond");
    let clicks = match (args.clicks_per_second, deployed) {
        (Some(clicks), _) => clicks,
        (None, Some(clicks)) => clicks.parse().context("PeakClicksPerSecond of the stack")?,
        (None, None) => anyhow::bail!("the stack does not say its peak: give --clicks-per-second"),
    };
    let findings = operator.examine(&stack, clicks).await;
    let mut out = io::stdout().lock();
    writeln!(out, "{} at {clicks} clicks a second:", args.stack)?;
    let bad = print(&findings, &mut out)?;
    Ok(ExitCode::from(u8::from(bad > 0)))
}

/// A line for each finding, and a sum; answers how many are bad.
fn print(findings: &[Finding], out: &mut impl Write) -> io::Result<usize> {
    let width = findings.iter().map(|finding| finding.subject.len()).max();
    let width = width.unwrap_or(0);
    let (mut bad, mut unread) = (0, 0);
    for Finding { subject, health } in findings {
        match health {
            Health::Good(found) => writeln!(out, "ok        {subject:width$}  {found}")?,
            Health::Bad { found, raise } => {
                bad += 1;
                writeln!(
                    out,
                    "TOO LOW   {subject:width$}  {found}\n{:10}{:width$}  raise: {raise}",
                    "", ""
                )?;
            }
            Health::Unread { why, permission } => {
                unread += 1;
                writeln!(
                    out,
                    "NOT READ  {subject:width$}  {why}\n{:10}{:width$}  needs: {permission}",
                    "", ""
                )?;
            }
        }
    }
    let all = findings.len();
    writeln!(
        out,
        "{} ok, {bad} too low or wrong, {unread} could not be read",
        all - bad - unread
    )?;
    Ok(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_has_its_word_and_what_to_do() {
        let finding = |subject: &str, health| Finding {
            subject: subject.to_owned(),
            health,
        };
        let findings = [
            finding("stream", Health::Good("2 shards".to_owned())),
            finding(
                "concurrency",
                Health::Bad {
                    found: "10 at once".to_owned(),
                    raise: "the quota to 300".to_owned(),
                },
            ),
            finding(
                "expiry",
                Health::Unread {
                    why: "AccessDenied".to_owned(),
                    permission: "dynamodb:DescribeTimeToLive",
                },
            ),
        ];
        let mut out = Vec::new();
        assert_eq!(print(&findings, &mut out).unwrap(), 1);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "ok        stream       2 shards",
                "TOO LOW   concurrency  10 at once",
                "raise: the quota to 300",
                "NOT READ  expiry       AccessDenied",
                "needs: dynamodb:DescribeTimeToLive",
                "1 ok, 1 too low or wrong, 1 could not be read",
            ]
        );
    }
}
