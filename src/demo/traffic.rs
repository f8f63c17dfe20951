//! Who comes when, and what they do: shows and the clicks that follow, drawn from the seed.
//!
//! Invariant: the same seed, time and number of clicks give the same clicks; what each must be counted as is decided here, by what
//! was done, and never by asking the services.

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::ids::{AdId, SlotName};
use clickledger_core::domain::time::MINUTE_MS;
use clickledger_core::domain::verdict::Verdict;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cast::{BURST_SLOT, MAIN_ADVERTISER, SLOTS, Slot};
use super::people::{self, by_share};
use super::season;
use super::story::Story;
use super::tally::Tally;
use super::world::{Click, World};

/// Clicks that follow one show of which any follows, on average: second clicks, prefetches.
const CLICKS_PER_VISIT: f64 = 1.05;
/// The burst's share of all clicks.
const BURST: f64 = 0.018;
/// Of so many clicks one is lost in the restart, but at least [`LEAST_LOST`].
const LOST_OF: u64 = 20_000;
const LEAST_LOST: u64 = 4;

/// What a visitor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visitor {
    /// Looks, and clicks.
    Person,
    /// Leaves the page open for long, and clicks then.
    Patient,
    /// Has a browser that fetches ahead.
    Prefetching,
    /// Follows a link that was passed on without its token.
    Tokenless,
    /// Makes a token up.
    Forger,
    /// Sends the token of another ad.
    Swapper,
    /// Clicks a day later.
    Stale,
    /// Says that it is a robot.
    Robot,
    /// The robot of the burst.
    Scraper,
    /// Clicks when the server dies.
    Unlucky,
}

/// A click that is still to be made.
struct Planned {
    click: Click,
    visit: u64,
    device: Device,
    /// What it is whatever else happens.
    surely: Option<Verdict>,
}

/// The traffic.
pub(super) struct Traffic {
    story: Story,
    random: StdRng,
    slots: Vec<(SlotName, &'static Slot)>,
    /// Visits a minute where activity and share are 1.
    scale: f64,
    burst_per_minute: f64,
    lost: u64,
    /// By how much each slot is off what is usual, in this hour.
    moods: Vec<f64>,
    due: BTreeMap<(i64, u64), Planned>,
    next: u64,
    /// Visits whose impression has had its valid click.
    taken: HashSet<u64>,
    pub(super) tally: Tally,
}

impl Traffic {
    /// About so many clicks.
    pub(super) fn new(story: Story, seed: u64, clicks: u64) -> Result<Self> {
        let slots = SLOTS.iter().map(|slot| Ok((slot.name.parse()?, slot)));
        let burst_minutes = (story.burst.end - story.burst.start) as f64 / MINUTE_MS as f64;
        let mut traffic = Self {
            random: StdRng::seed_from_u64(seed),
            slots: slots.collect::<Result<_>>()?,
            scale: 1.0,
            burst_per_minute: clicks as f64 * BURST / burst_minutes,
            lost: (clicks / LOST_OF).max(LEAST_LOST),
            moods: vec![1.0; SLOTS.len()],
            due: BTreeMap::new(),
            next: 0,
            taken: HashSet::new(),
            tally: Tally::default(),
            story,
        };
        let minutes = (traffic.story.from_ms..traffic.story.until_ms).step_by(MINUTE_MS as usize);
        let visits: f64 = minutes
            .map(|at_ms| {
                (0..SLOTS.len())
                    .map(|slot| traffic.rate(slot, at_ms))
                    .sum::<f64>()
            })
            .sum();
        traffic.scale = clicks as f64 * (1.0 - BURST) / CLICKS_PER_VISIT / visits.max(1.0);
        Ok(traffic)
    }

    /// Visits of a slot a minute.
    fn rate(&self, slot: usize, at_ms: i64) -> f64 {
        let (_, cast) = &self.slots[slot];
        let total: f64 = cast.readers.iter().map(|readers| readers.share).sum();
        let active =
            |readers: &super::cast::Readers| readers.share * season::activity(at_ms, readers.hours_east);
        let activity = cast.readers.iter().map(active).sum::<f64>() / total;
        let crowd = match cast.shows.contains(&MAIN_ADVERTISER) {
            true => self.story.crowd(at_ms),
            false => 1.0,
        };
        let growth = 1.0 + 0.3 * self.story.progress(at_ms);
        self.scale * cast.share * activity * crowd * growth * self.moods[slot]
    }

    /// The shows of `from_ms..to_ms`, at most an hour, and what will follow them.
    pub(super) async fn shows(&mut self, world: &World, from_ms: i64, to_ms: i64) -> Result<()> {
        if from_ms % (60 * MINUTE_MS) == 0 {
            for mood in &mut self.moods {
                *mood = self.random.random_range(0.86..1.14);
            }
        }
        let length = (to_ms - from_ms) as f64 / MINUTE_MS as f64;
        let mut shows = Vec::new();
        for slot in 0..self.slots.len() {
            let mut visitors = vec![(self.rate(slot, from_ms) * length, None)];
            if self.slots[slot].1.name == BURST_SLOT && self.story.burst.contains(&from_ms) {
                visitors.push((self.burst_per_minute * length, Some(Visitor::Scraper)));
            }
            for (rate, visitor) in visitors {
                for _ in 0..self.poisson(rate) {
                    shows.push((self.random.random_range(from_ms..to_ms), slot, visitor));
                }
            }
        }
        if (from_ms..to_ms).contains(&self.story.restart.start) {
            let at_ms = from_ms;
            shows.extend((0..self.lost).map(|_| (at_ms, 0, Some(Visitor::Unlucky))));
        }
        shows.sort_by_key(|(at_ms, slot, _)| (*at_ms, *slot));
        for (at_ms, slot, visitor) in shows {
            self.visit(world, at_ms, slot, visitor).await?;
        }
        Ok(())
    }

    /// How many come where so many come on average.
    fn poisson(&mut self, mean: f64) -> u64 {
        // Knuth's way, in pieces whose exponential is not zero.
        let (mut left, mut count) = (mean, 0);
        while left > 0.0 {
            let (limit, mut product) = ((-left.min(500.0)).exp(), self.random.random::<f64>());
            while product > limit {
                count += 1;
                product *= self.random.random::<f64>();
            }
            left -= 500.0;
        }
        count
    }

    fn visitor(&mut self, shady: f64) -> Visitor {
        let all = [
            (Visitor::Person, 0.92),
            (Visitor::Patient, 0.032),
            (Visitor::Prefetching, 0.011),
            (Visitor::Stale, 0.004),
            (Visitor::Tokenless, 0.006 * shady),
            (Visitor::Forger, 0.005 * shady),
            (Visitor::Swapper, 0.001 * shady),
            (Visitor::Robot, 0.009 * shady),
        ];
        let drawn = by_share(&all, |(_, share)| *share, &mut self.random);
        drawn.map_or(Visitor::Person, |place| all[place].0)
    }

    /// Seconds from a show to its click: mostly few, sometimes a minute and a half.
    fn dwell_ms(&mut self) -> i64 {
        (700.0 * 130.0_f64.powf(self.random.random::<f64>().powf(1.4))) as i64
    }

    async fn visit(
        &mut self,
        world: &World,
        at_ms: i64,
        slot: usize,
        visitor: Option<Visitor>,
    ) -> Result<()> {
        let (name, cast) = self.slots[slot].clone();
        let shown = world.show(&name, at_ms).await?;
        let visitor = match visitor {
            Some(visitor) => visitor,
            None => self.visitor(cast.shady),
        };
        let random = &mut self.random;
        let active =
            |readers: &super::cast::Readers| readers.share * season::activity(at_ms, readers.hours_east);
        let readers = &cast.readers[by_share(cast.readers, active, random).unwrap_or(0)];
        let devices = season::devices(at_ms, readers.hours_east, cast.phones);
        let (device, _) = devices[by_share(&devices, |(_, share)| *share, random).unwrap_or(0)];
        let user_agent = match visitor {
            Visitor::Robot => people::robot(random),
            Visitor::Scraper => Some(people::SCRAPER),
            _ => Some(people::browser(device, random)),
        };
        let click = Click {
            at_ms,
            ad_id: shown.ad.ad_id,
            token: Some(shown.token),
            user_agent,
            client: people::address(random),
            country: readers.country.parse().unwrap_or(Country::ZZ),
            prefetch: false,
            private: random.random_bool(0.06),
            referrer: (cast.phones < 4.0).then_some("https://www.publisher.example/"),
        };
        let visit = self.next;
        self.next += 1;
        self.plan(visitor, visit, device, &click);
        Ok(())
    }

    /// What follows a show; `click` has its time.
    fn plan(&mut self, visitor: Visitor, visit: u64, device: Device, click: &Click) {
        let shown_ms = click.at_ms;
        let dwell_ms = self.dwell_ms();
        let mut planned = Planned {
            click: Click {
                at_ms: shown_ms + dwell_ms,
                ..click.clone()
            },
            visit,
            device,
            surely: None,
        };
        let hours = |random: &mut StdRng, range: std::ops::Range<f64>| {
            (random.random_range(range) * 3_600_000.0) as i64
        };
        match visitor {
            Visitor::Person => {}
            Visitor::Patient => planned.click.at_ms = shown_ms + hours(&mut self.random, 0.05..8.0),
            Visitor::Prefetching => {
                let ahead = Click {
                    at_ms: shown_ms + 300,
                    prefetch: true,
                    ..click.clone()
                };
                self.schedule(Planned {
                    click: ahead,
                    visit,
                    device,
                    surely: Some(Verdict::Prefetch),
                });
                if self.random.random_bool(0.6) {
                    return;
                }
            }
            Visitor::Tokenless => {
                planned.click.token = None;
                planned.surely = Some(Verdict::MissingToken);
            }
            Visitor::Forger => {
                planned.click.token = planned.click.token.map(|token| forged(&token));
                planned.surely = Some(Verdict::BadToken);
            }
            Visitor::Swapper => {
                let Some(other) = self.tally.ads.keys().find(|ad| **ad != click.ad_id) else {
                    return;
                };
                planned.click.ad_id = *other;
                planned.surely = Some(Verdict::BadToken);
            }
            Visitor::Stale => {
                planned.click.at_ms = shown_ms + hours(&mut self.random, 25.0..70.0);
                planned.surely = Some(Verdict::ExpiredToken);
            }
            // On an ad that is paused by then they are that first: they don't wait.
            Visitor::Robot | Visitor::Scraper => {
                planned.click.at_ms = shown_ms + 1;
                planned.surely = Some(Verdict::Bot);
            }
            Visitor::Unlucky => {
                planned.click.at_ms = self.random.random_range(self.story.restart.clone());
            }
        }
        let again = match self.random.random::<f64>() {
            x if x < 0.028 => Some(self.random.random_range(250..2600)),
            x if x < 0.034 => Some(hours(&mut self.random, 0.02..5.0)),
            _ => None,
        };
        let clicked = planned.click.clone();
        let is_person = planned.surely.is_none();
        self.schedule(planned);
        if let Some(after_ms) = again.filter(|_| is_person && visitor != Visitor::Unlucky) {
            self.schedule(Planned {
                click: Click {
                    at_ms: clicked.at_ms + after_ms,
                    ..clicked
                },
                visit,
                device,
                surely: None,
            });
        }
    }

    fn schedule(&mut self, planned: Planned) {
        self.due.insert((planned.click.at_ms, self.next), planned);
        self.next += 1;
    }

    /// Makes the clicks that are due before `to_ms`; `paused` are the ads that are.
    pub(super) async fn clicks(
        &mut self,
        world: &mut World,
        to_ms: i64,
        paused: &HashSet<AdId>,
    ) -> Result<()> {
        let mut visits: BTreeMap<u64, Vec<Planned>> = BTreeMap::new();
        while let Some(first) = self.due.first_entry().filter(|first| first.key().0 < to_ms) {
            let planned = first.remove();
            visits.entry(planned.visit).or_default().push(planned);
        }
        let sent = visits
            .values()
            .map(|visit| visit.iter().map(|planned| planned.click.clone()).collect());
        let recorded = world.click(to_ms, sent.collect()).await?;
        for (planned, recorded) in visits.into_values().zip(recorded) {
            for (planned, recorded) in planned.into_iter().zip(recorded) {
                self.made(planned, recorded, paused);
            }
        }
        Ok(())
    }

    fn made(&mut self, planned: Planned, recorded: bool, paused: &HashSet<AdId>) {
        if !recorded {
            // Nothing came: whoever is a person clicks again when the server is back.
            if planned.surely.is_none() {
                let wait_ms = self.random.random_range(5_000..80_000);
                let click = Click {
                    at_ms: self.story.restart.end + wait_ms,
                    ..planned.click.clone()
                };
                self.schedule(Planned { click, ..planned });
            }
            return;
        }
        let Planned {
            click,
            visit,
            device,
            surely,
        } = planned;
        let verdict = match surely {
            Some(verdict) => verdict,
            None if paused.contains(&click.ad_id) => Verdict::InactiveAd,
            None if !self.taken.insert(visit) => Verdict::Duplicate,
            None => Verdict::Valid,
        };
        self.tally
            .add(click.ad_id, verdict, device, click.country.as_str());
    }
}

/// The token with one character changed.
fn forged(token: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    // The last one may carry bits that nobody reads.
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
