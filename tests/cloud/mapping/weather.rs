//! What goes wrong between the function and AWS: drawn from the seed, and done by the proxy.
//!
//! Invariant: whatever a fault says, a write is applied at most once for each time that the function sent it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clickledger_testkit::sim_rng::SimRng;
use clickledger_tests::fault_proxy::{Asked, Fault, Service, error};
use serde_json::{Value, json};

use crate::driver::{Event, Tally};

/// A rule that is broken on the way to AWS, or in the mapping: to show that it would be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Partials are added to whatever their watermark is.
    NoWatermark,
    /// The lane log is acknowledged, and not written.
    NoLaneLog,
    /// A claim takes what another has.
    NoClaimCondition,
    /// Late hours are acknowledged, and not marked.
    NoDirtyHours,
    /// Garbage is acknowledged, and not kept.
    NoQuarantine,
    /// The mapping goes on after the records that a function handed back.
    FailuresSkipped,
}

impl Broken {
    pub(crate) const ALL: [Broken; 6] = [
        Broken::NoWatermark,
        Broken::NoLaneLog,
        Broken::NoClaimCondition,
        Broken::NoDirtyHours,
        Broken::NoQuarantine,
        Broken::FailuresSkipped,
    ];

    /// What is to be read in what was found: any other finding is the suite's own mistake.
    pub(crate) fn shows(self) -> &'static str {
        match self {
            Broken::NoWatermark | Broken::NoLaneLog | Broken::FailuresSkipped => ": counted ",
            Broken::NoClaimCondition => " is owned by ",
            Broken::NoDirtyHours => "dirty hours ",
            Broken::NoQuarantine => "quarantined or not",
        }
    }

    /// What the proxy makes of this request.
    fn of(self, asked: &Asked<'_>) -> Option<Fault> {
        let is = |operation: &str, table: &str| {
            let name = format!("\"TableName\":\"{table}\"");
            asked.operation == operation && contains(asked.body, &name)
        };
        let done = || Fault::Answer(200, "{}".to_owned());
        match self {
            Broken::NoWatermark => is("UpdateItem", "buckets").then(|| unconditional(asked.body, ":c")),
            Broken::NoLaneLog => is("PutItem", "lanes").then(done),
            Broken::NoClaimCondition => is("PutItem", "claims").then(|| unconditional(asked.body, ":now")),
            Broken::NoDirtyHours => is("UpdateItem", "hours").then(|| marked(asked.body)),
            Broken::NoQuarantine => (asked.service == Service::S3).then(|| Fault::Answer(200, String::new())),
            Broken::FailuresSkipped => None,
        }
    }
}

/// The same write without its condition, and without the value that only that used.
fn unconditional(body: &[u8], value: &str) -> Fault {
    let mut write: Value = serde_json::from_slice(body).unwrap();
    let write_fields = write.as_object_mut().unwrap();
    write_fields.remove("ConditionExpression").unwrap();
    write_fields.remove("ReturnValuesOnConditionCheckFailure");
    let values = write_fields["ExpressionAttributeValues"].as_object_mut().unwrap();
    values.remove(value).unwrap();
    if values.is_empty() {
        write_fields.remove("ExpressionAttributeValues");
    }
    Fault::Rewrite(write.to_string().into_bytes())
}

/// The answer to the first mark of an hour: its item as it would be.
fn marked(body: &[u8]) -> Fault {
    let write: Value = serde_json::from_slice(body).unwrap();
    let hour = &write["ExpressionAttributeValues"][":n"];
    let item = json!({ "Attributes": { "n": hour, "marks": { "N": "1" } } });
    Fault::Answer(200, item.to_string())
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

/// What a seed's faults are like.
pub(crate) struct Weather {
    rng: SimRng,
    tally: Arc<Tally>,
    broken: Option<Broken>,
    calm: AtomicBool,
    started: Instant,
    /// How likely each is.
    throttled: f64,
    broke_down: f64,
    lost: f64,
    later: f64,
    slow: f64,
    /// What gets no answer at all: the function waits for it for two seconds.
    silent: f64,
    /// Requests that hold this text are refused all the time, from when to when.
    stuck: Option<(&'static str, Duration, Duration)>,
}

/// Longer than `aggregate` tries a write.
const STUCK_MS: u64 = 10_800;

impl Weather {
    pub(crate) fn draw(rng: &SimRng, tally: Arc<Tally>, broken: Option<Broken>) -> Self {
        let one_of = |choices: &[f64]| rng.pick(choices).copied().unwrap_or_default();
        let texts = [
            "\"a#73001#",
            "\"t#",
            "\"c#13#",
            "\"TableName\":\"claims\"",
            "\"TableName\":\"lanes\"",
        ];
        let text = rng.pick(&texts).copied().unwrap_or_default();
        let from = Duration::from_millis(rng.below(1_500));
        // A rule that is broken is found without it, but for those that need what is handed back.
        let stuck = rng.chance(0.5) && matches!(broken, None | Some(Broken::FailuresSkipped));
        Self {
            throttled: one_of(&[0.0, 0.05, 0.25]),
            broke_down: one_of(&[0.0, 0.03]),
            lost: one_of(&[0.02, 0.08, 0.2]),
            later: one_of(&[0.0, 0.03, 0.1]),
            slow: one_of(&[0.0, 0.1]),
            silent: one_of(&[0.0, 0.0, 0.006]),
            stuck: stuck.then(|| (text, from, from + Duration::from_millis(STUCK_MS))),
            rng: rng.fork(),
            tally,
            broken,
            calm: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    /// No more faults, but the rule that is broken.
    pub(crate) fn calm(&self) {
        self.calm.store(true, Ordering::Release);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Acquire)
    }

    /// What becomes of a request.
    pub(crate) fn fault(&self, asked: &Asked<'_>) -> Fault {
        let (fault, event) = self.chosen(asked);
        if let Some(event) = event {
            self.tally.count(event);
        }
        if let (Some(broken), Fault::Pass) = (self.broken, &fault)
            && let Some(fault) = broken.of(asked)
        {
            return fault;
        }
        fault
    }

    fn chosen(&self, asked: &Asked<'_>) -> (Fault, Option<Event>) {
        if self.is_calm() || asked.service == Service::Other {
            return (Fault::Pass, None);
        }
        let (status, body) = asked.service.throttled();
        if let Some((text, from, to)) = self.stuck
            && (from..to).contains(&self.started.elapsed())
            && contains(asked.body, text)
        {
            return (Fault::Answer(status, body), Some(Event::Stuck));
        }
        let mut at = self.rng.unit();
        let mut falls = |probability: f64| {
            at -= probability;
            at < 0.0
        };
        if falls(self.throttled) {
            let codes = ["", "ThrottlingException", "RequestLimitExceeded"];
            let code = match asked.service {
                Service::DynamoDb => self.rng.pick(&codes).copied().unwrap_or_default(),
                _ => "",
            };
            // Only a write is in conflict with another.
            let answer = match code {
                "" => (status, body),
                "ThrottlingException" if asked.operation != "Query" => {
                    (400, error("TransactionConflictException"))
                }
                code => (400, error(code)),
            };
            (Fault::Answer(answer.0, answer.1), Some(Event::Throttled))
        } else if falls(self.broke_down) {
            let status = if self.rng.chance(0.5) { 500 } else { 503 };
            let body = error("InternalServerError");
            let fault = if self.rng.chance(0.5) {
                Fault::DoneBut(status, body)
            } else {
                Fault::Answer(status, body)
            };
            (fault, Some(Event::BrokeDown))
        } else if falls(self.lost) {
            let fault = if self.rng.chance(0.8) {
                Fault::Lose
            } else {
                Fault::Close
            };
            (fault, Some(Event::Lost))
        } else if falls(self.later) {
            let delay = Duration::from_millis(self.rng.below(2_500));
            (Fault::Later(delay), Some(Event::Later))
        } else if falls(self.slow) {
            let delay = Duration::from_millis(self.rng.below(120));
            (Fault::Slowly(delay), None)
        } else if falls(self.silent) {
            let fault = if self.rng.chance(0.5) {
                Fault::DoneInSilence
            } else {
                Fault::Silence
            };
            (fault, Some(Event::Silent))
        } else {
            (Fault::Pass, None)
        }
    }
}
