//! `clickledger redrive`: records of the last-resort log, and dead letters, back into the spill.
//!
//! Invariant: its exit code is 1 if a line was refused or a record not sent; both are shown, and the others go on.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clickledger_aws::{LogLine, Operator, SpillQueue, Stack, SystemClock};
use clickledger_core::ports::{Clock, Outgoing, Spill};
use futures_util::{StreamExt, stream};
use jiff::tz::TimeZone;

use super::RedriveArgs;
use super::lines::{self, Line};

/// Messages that are sent at the same time.
const AT_ONCE: usize = 16;
/// Records that are gathered before they are sent.
const BATCH: usize = 1_000;
/// How much of a refused line is shown, characters.
const SHOWN: usize = 120;

pub(super) async fn run(args: &RedriveArgs, operator: &Operator) -> Result<ExitCode> {
    let stack = operator.stack(&args.stack).await;
    let stack = stack.with_context(|| format!("the stack {} (cloudformation:DescribeStacks)", args.stack))?;
    if args.dead_letters {
        return dead_letters(operator, &stack, args.dry_run).await;
    }
    let mut redriving = Redriving {
        spill: operator.spill(stack.output("SpillQueueUrl")?),
        dry_run: args.dry_run,
        gathered: Vec::new(),
        done: Done::default(),
    };
    match &args.file {
        Some(path) => redriving.file(path).await?,
        None => redriving.log(args, operator, &stack).await?,
    }
    redriving.send().await?;
    redriving.done.say(args.dry_run)
}

async fn dead_letters(operator: &Operator, stack: &Stack, dry_run: bool) -> Result<ExitCode> {
    let url = stack.output("DeadLetterQueueUrl")?;
    let waiting = operator.waiting(url).await.context("sqs:GetQueueAttributes")?;
    let mut out = io::stdout().lock();
    writeln!(out, "about {} messages wait in {}", waiting.messages, waiting.arn)?;
    if waiting.messages == 0 || dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let moved = operator.move_back(&waiting.arn).await;
    moved.context("sqs:StartMessageMoveTask, and what it needs on both queues")?;
    writeln!(
        out,
        "SQS moves them back into the spill; aws sqs list-message-move-tasks --source-arn {} says how far it is",
        waiting.arn
    )?;
    Ok(ExitCode::SUCCESS)
}

/// What has become of the lines.
#[derive(Debug, Default)]
struct Done {
    records: u64,
    others: u64,
    refused: u64,
    sent: u64,
    failed: u64,
}

impl Done {
    fn say(&self, dry_run: bool) -> Result<ExitCode> {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "{} last-resort records read, {} lines refused, {} other lines passed over",
            self.records, self.refused, self.others
        )?;
        if dry_run {
            writeln!(out, "nothing sent: that was a dry run")?;
        } else {
            writeln!(out, "{} sent to the spill, {} not", self.sent, self.failed)?;
            if self.failed > 0 {
                writeln!(out, "Run it again: a record that is sent twice is counted once.")?;
            }
        }
        Ok(ExitCode::from(u8::from(self.refused + self.failed > 0)))
    }
}

struct Redriving {
    spill: SpillQueue,
    dry_run: bool,
    gathered: Vec<Outgoing>,
    done: Done,
}

impl Redriving {
    async fn file(&mut self, path: &Path) -> Result<()> {
        let mut file: Box<dyn BufRead> = if path == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            Box::new(BufReader::new(file))
        };
        while let Some(line) = lines::next(&mut file).with_context(|| path.display().to_string())? {
            match line {
                // The AWS CLI's text output puts several events on a line; JSON on one line holds no tab.
                Line::Text(text) => {
                    for part in text.split('\t') {
                        self.line(part)?;
                    }
                }
                Line::Unreadable(why) => self.refuse(why, "")?,
            }
            self.send_full().await?;
        }
        Ok(())
    }

    async fn log(&mut self, args: &RedriveArgs, operator: &Operator, stack: &Stack) -> Result<()> {
        let log = stack.output("ClickLogName")?;
        let now_ms = SystemClock.now_ms();
        let from_ms = args.from.unix_ms(now_ms, &TimeZone::UTC)?;
        let to_ms = args.to.unix_ms(now_ms, &TimeZone::UTC)?;
        anyhow::ensure!(from_ms < to_ms, "--from must be before --to");
        let mut next = None;
        loop {
            let page = operator.last_resort_messages(log, from_ms, to_ms, next).await;
            let page = page.with_context(|| format!("the log {log} (logs:FilterLogEvents)"))?;
            for message in &page.messages {
                self.line(message)?;
                self.send_full().await?;
            }
            next = page.next;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        match LogLine::read(line) {
            LogLine::Record(record) => {
                self.done.records += 1;
                self.gathered.push(record);
            }
            LogLine::Other => self.done.others += 1,
            LogLine::Bad(reason) => self.refuse(&reason, line)?,
        }
        Ok(())
    }

    fn refuse(&mut self, reason: &str, line: &str) -> io::Result<()> {
        self.done.refused += 1;
        // Foreign text does not steer the terminal.
        let plain = |text: &str| -> String {
            let shown = text.chars().take(SHOWN);
            shown
                .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                .collect()
        };
        writeln!(io::stderr(), "refused: {}: {}", plain(reason), plain(line))
    }

    async fn send_full(&mut self) -> Result<()> {
        if self.gathered.len() >= BATCH {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<()> {
        let records = std::mem::take(&mut self.gathered);
        if self.dry_run {
            return Ok(());
        }
        let spill = &self.spill;
        let sending = records.into_iter().map(|record| spill.keep(record));
        let mut sending = stream::iter(sending).buffer_unordered(AT_ONCE);
        while let Some(sent) = sending.next().await {
            match sent {
                Ok(()) => self.done.sent += 1,
                Err(error) => {
                    self.done.failed += 1;
                    writeln!(io::stderr(), "not sent: {error}")?;
                }
            }
        }
        Ok(())
    }
}
