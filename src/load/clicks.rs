//! The clicks: on an open schedule, whatever the answers.
//!
//! Invariant: a click is sent at most once. One whose connection failed after it was sent counts as sent and not as
//! acknowledged: nobody knows its fate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{Click, Plan};
use super::prepare::Impressions;
use super::wire::{Connection, Site};

/// How long nothing can be reached before the run is given up.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// What was sent and what came back.
#[derive(Debug)]
pub(super) struct Tally {
    /// Clicks sent, of those with a genuine token and of the forged ones.
    pub(super) sent: [u64; 2],
    /// Of these, acknowledged: answered with the redirect and recorded.
    pub(super) acknowledged: [u64; 2],
    /// Answered with something else.
    pub(super) refused: u64,
    /// Redirected, but the server said that it could not record them.
    pub(super) unrecorded: u64,
    /// No answer: the connection broke or nothing came in time.
    pub(super) unknown: u64,
    /// Impressions, by place.
    clicked: Vec<Clicked>,
    /// When each acknowledged click's answer came, in their order, since the run's start.
    pub(super) acknowledged_at: Vec<Duration>,
    /// From the intended time to the answer, microseconds.
    pub(super) latency_us: Histogram<u64>,
}

impl Tally {
    /// How many impressions were clicked, and how many of these have a valid click for sure.
    ///
    /// Sure are those with an acknowledged click and none that failed: a server that died between a click's claim and its
    /// record has given the impression to a click that nobody knows, and every later one is its duplicate (until sealing
    /// promotes one).
    pub(super) fn impressions(&self) -> (u64, u64) {
        let count = |of: fn(&Clicked) -> bool| self.clicked.iter().filter(|c| of(c)).count() as u64;
        (count(|c| c.sent), count(|c| c.acknowledged && !c.failed))
    }

    /// All clicks that were acknowledged.
    pub(super) fn all_acknowledged(&self) -> u64 {
        self.acknowledged.iter().sum()
    }

    /// All clicks that were sent.
    pub(super) fn all_sent(&self) -> u64 {
        self.sent.iter().sum()
    }

    /// All clicks that were sent and not acknowledged.
    pub(super) fn failed(&self) -> u64 {
        self.refused + self.unrecorded + self.unknown
    }
}

/// What became of an impression.
#[derive(Debug, Clone, Copy, Default)]
struct Clicked {
    sent: bool,
    acknowledged: bool,
    failed: bool,
}

/// One run.
pub(super) struct Run {
    site: Arc<Site>,
    plan: Plan,
    impressions: Impressions,
    interval: Duration,
    next: AtomicUsize,
    tally: Mutex<Tally>,
    bar: ProgressBar,
    start: Instant,
}

impl Run {
    /// A run that starts at `start`, with one click every `interval`.
    pub(super) fn new(
        site: Arc<Site>,
        plan: Plan,
        impressions: Impressions,
        interval: Duration,
        start: Instant,
    ) -> Result<Self> {
        let tally = Tally {
            sent: [0; 2],
            acknowledged: [0; 2],
            refused: 0,
            unrecorded: 0,
            unknown: 0,
            clicked: vec![Clicked::default(); plan.impressions as usize],
            acknowledged_at: Vec::with_capacity(plan.clicks.len()),
            latency_us: super::report::histogram()?,
        };
        let bar = crate::progress::bar("clicks", plan.clicks.len() as u64);
        Ok(Self {
            site,
            plan,
            impressions,
            interval,
            next: AtomicUsize::new(0),
            tally: Mutex::new(tally),
            bar,
            start,
        })
    }

    /// Clicks over this many connections until every planned click is sent.
    pub(super) async fn click(self: &Arc<Self>, connections: usize) -> Result<()> {
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let run = Arc::clone(self);
            tasks.spawn(async move { run.connection().await });
        }
        let mut last = Ok(());
        while let Some(task) = tasks.join_next().await {
            let ended = task.context("clicking")?;
            if ended.is_err() {
                last = ended;
            }
        }
        self.bar.finish_and_clear();
        last
    }

    /// What happened so far.
    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connection(&self) -> Result<()> {
        let mut connection = Connection::to(&self.site);
        let headers = format!("User-Agent: {}\r\nAccept: text/html\r\n", super::USER_AGENT);
        let (mut request, mut path) = (Vec::new(), Vec::new());
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(click) = self.plan.clicks.get(place).copied() else {
                return Ok(());
            };
            let intended = self.start + self.interval.mul_f64(place as f64);
            if intended > Instant::now() {
                sleep_until(intended).await;
            }
            let of = match click {
                Click::Fresh(of) | Click::Repeat(of) => {
                    self.site
                        .request(&mut request, "GET", self.impressions.path(of), &headers, "");
                    Some(of)
                }
                Click::Forged(of) => {
                    path.clear();
                    path.extend_from_slice(self.impressions.path(of));
                    forge(&mut path);
                    self.site.request(&mut request, "GET", &path, &headers, "");
                    None
                }
            };
            reach(&mut connection).await?;
            self.sent(of);
            let answer = connection
                .exchange(&request)
                .await
                .map(|answer| (answer.status, answer.recorded));
            self.answered(of, intended, answer.ok());
        }
    }

    fn sent(&self, of: Option<u32>) {
        let mut tally = self.tally();
        tally.sent[usize::from(of.is_none())] += 1;
        if let Some(of) = of {
            tally.clicked[of as usize].sent = true;
        }
    }

    fn answered(&self, of: Option<u32>, intended: Instant, answer: Option<(u16, bool)>) {
        let now = Instant::now();
        self.bar.inc(1);
        let mut tally = self.tally();
        if let Some(of) = of {
            let clicked = &mut tally.clicked[of as usize];
            match answer {
                Some((302, true)) => clicked.acknowledged = true,
                _ => clicked.failed = true,
            }
        }
        match answer {
            Some((302, true)) => {
                tally.acknowledged[usize::from(of.is_none())] += 1;
                tally
                    .acknowledged_at
                    .push(now.saturating_duration_since(self.start));
                let waited = now.saturating_duration_since(intended).as_micros();
                tally
                    .latency_us
                    .saturating_record(u64::try_from(waited).unwrap_or(u64::MAX));
            }
            Some((302, false)) => tally.unrecorded += 1,
            Some(_) => tally.refused += 1,
            None => tally.unknown += 1,
        }
    }
}

/// Waits for a connection: a server that restarts is no reason to end, one that stays away is.
async fn reach(connection: &mut Connection) -> Result<()> {
    let since = Instant::now();
    while let Err(error) = connection.open().await {
        if since.elapsed() > CONNECT_LIMIT {
            bail!("the target cannot be reached for {CONNECT_LIMIT:?}: {error}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Changes one character in the middle of the token.
fn forge(path: &mut [u8]) {
    const NAME: &[u8] = b"imp=";
    let Some(start) = path.windows(NAME.len()).position(|w| w == NAME) else {
        return;
    };
    let token = &mut path[start + NAME.len()..];
    let end = token.iter().position(|b| *b == b'&').unwrap_or(token.len());
    if let Some(middle) = token[..end].get_mut(end / 2) {
        *middle = if *middle == b'A' { b'B' } else { b'A' };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgery_differs_in_one_character_of_the_token() {
        for (given, forged) in [
            ("/click?adId=1&imp=abcdefg", "/click?adId=1&imp=abcAefg"),
            ("/click?imp=xxAxx&adId=1", "/click?imp=xxBxx&adId=1"),
            ("/click?adId=1", "/click?adId=1"),
        ] {
            let mut path = given.as_bytes().to_vec();
            forge(&mut path);
            assert_eq!(path, forged.as_bytes());
        }
    }
}
