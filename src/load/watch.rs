//! Watching the counts grow: the advertiser's total, asked for every 100 ms, while the clicks run and after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clickledger_core::domain::time::{MINUTE_MS, Minute};
use clickledger_core::ports::Clock;
use clickledger_core::service::metrics::{LocalTime, MetricsPage, MetricsTotals};
use clickledger_embedded::SystemClock;
use hdrhistogram::{CreationError, Histogram};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::clicks::Run;
use super::wire::{Connection, Site};

const EVERY: Duration = Duration::from_millis(100);
/// After everything is visible: for how long nothing more may come. What is counted twice may come late.
const QUIET: Duration = Duration::from_secs(2);

/// How the counts grew, and what they ended at.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// When an answer came, since the start, and how many clicks it showed; only where that rose.
    risen: Vec<(Duration, u64)>,
    /// The last answer's totals; `None` where none ever came.
    pub(super) totals: Option<MetricsTotals>,
}

impl Watched {
    /// The n-th acknowledged click is visible when the total reaches n. Microseconds, of those that became visible.
    pub(super) fn delays_us(&self, acknowledged_at: &[Duration]) -> Result<Histogram<u64>, CreationError> {
        let mut delays = super::report::histogram()?;
        let mut risen = self.risen.iter().peekable();
        for (n, at) in (1_u64..).zip(acknowledged_at) {
            while risen.next_if(|(_, count)| *count < n).is_some() {}
            let Some((shown_at, _)) = risen.peek() else { break };
            let delay = shown_at.saturating_sub(*at).as_micros();
            delays.saturating_record(u64::try_from(delay).unwrap_or(u64::MAX));
        }
        Ok(delays)
    }
}

/// Watches `run` until `clicking` is over and its clicks are visible and nothing more comes, or until `patience` after
/// the end of the clicks.
pub(super) async fn watch(
    question: Question,
    run: Arc<Run>,
    start: Instant,
    clicking: Arc<AtomicBool>,
    patience: Duration,
) -> Watched {
    let mut watched = Watched::default();
    let mut connection = Connection::to(&question.site);
    let mut request = Vec::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut ended, mut rose) = (None, Instant::now());
    loop {
        ticks.tick().await;
        question.write(&mut request);
        let over = !clicking.load(Ordering::Acquire);
        let totals = match connection.exchange(&request).await {
            Ok(answer) if answer.status == 200 => serde_json::from_slice::<MetricsPage>(answer.body)
                .ok()
                .map(|page| page.totals),
            _ => None,
        };
        let now = Instant::now();
        if let Some(totals) = totals {
            let gross = totals.gross_clicks.unwrap_or(0);
            if watched.risen.last().map_or(0, |(_, before)| *before) < gross {
                watched.risen.push((now.saturating_duration_since(start), gross));
                rose = now;
            }
            watched.totals = Some(totals);
            let visible = gross >= run.tally().all_acknowledged();
            if over && visible && rose.elapsed() >= QUIET {
                return watched;
            }
        }
        if over && ended.get_or_insert(now).elapsed() >= patience {
            return watched;
        }
    }
}

/// What is asked: an advertiser's clicks from the run's first minute on.
pub(super) struct Question {
    pub(super) site: Arc<Site>,
    pub(super) authorization: String,
    pub(super) advertiser_id: u64,
    /// When the run began, Unix milliseconds.
    pub(super) began_ms: i64,
}

impl Question {
    fn write(&self, request: &mut Vec<u8>) {
        let from_ms = Minute::of(self.began_ms).start_ms();
        // The running minute too, and not more: nobody may ask for the future.
        let to_ms = Minute::of(SystemClock.now_ms()).start_ms() + MINUTE_MS;
        let path = self.site.path(&format!(
            "/v1/advertisers/{}/metrics?from={}&to={}&granularity=day",
            self.advertiser_id,
            LocalTime::utc(from_ms),
            LocalTime::utc(to_ms),
        ));
        let headers = format!(
            "{}Accept: application/json\r\nUser-Agent: {}\r\n",
            self.authorization,
            super::USER_AGENT
        );
        self.site.request(request, "GET", path.as_bytes(), &headers, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_click_is_visible_when_the_total_reaches_its_number() {
        let ms = Duration::from_millis;
        let watched = Watched {
            risen: vec![(ms(100), 2), (ms(400), 3), (ms(500), 9)],
            totals: None,
        };
        let delays = watched.delays_us(&[ms(10), ms(120), ms(130), ms(150)]).unwrap();
        let mut found: Vec<_> = delays
            .iter_recorded()
            .map(|v| v.value_iterated_to() / 1000)
            .collect();
        found.sort_unstable();
        assert_eq!(found, [0, 90, 270, 350]);
        let never = Watched::default().delays_us(&[ms(1)]).unwrap();
        assert_eq!(never.len(), 0);
    }
}
