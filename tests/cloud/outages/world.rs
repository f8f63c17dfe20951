//! An account with every resource, its functions, and a proxy before each service that may fail.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clickledger_aws::{
    Aws, CatalogOptions, Patience, Resource, SystemClock, SystemEntropy, TokenKeysOptions,
};
use clickledger_core::domain::ad::{Ad, AdStatus, RedirectUrl};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, ImpressionId, PlacementId};
use clickledger_core::domain::time::Hour;
use clickledger_core::domain::token::Impression;
use clickledger_core::ports::{AdCatalog, Changed, Clock, Entropy, SealStore};
use clickledger_core::service::key_ring::KeyRing;
use clickledger_tests::fault_proxy::{Asked, Fault, FaultProxy};
use clickledger_tests::function::{Function, binary};
use clickledger_tests::runtime_api::Outcome;
use serde_json::{Value, json};

use crate::held_up::HeldUp;
use crate::resources::Account;

/// How long a function has for an event, on a busy machine.
const TIME: Duration = Duration::from_secs(60);
const LANDING: &str = "https://shop.example/landing?a=1&b=%20";
/// Where `maintain` puts the catalogue.
const SNAPSHOT: &str = "catalogue/ads.ndjson";

pub(crate) fn now_ms() -> i64 {
    SystemClock.now_ms()
}

/// In which way a service cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Its connections are refused.
    Refused,
    /// It takes connections and requests, and never answers.
    Silent,
    /// It does what it is asked, and never answers.
    DoneInSilence,
}

impl How {
    pub(crate) const ALL: [How; 3] = [How::Refused, How::Silent, How::DoneInSilence];
}

/// A service's way in.
pub(crate) struct Door {
    proxy: FaultProxy,
    shut: Arc<Mutex<Option<How>>>,
}

impl Door {
    fn before(url: &str) -> Self {
        let shut = Arc::<Mutex<Option<How>>>::default();
        let of_proxy = Arc::clone(&shut);
        let decide = move |_: &Asked<'_>| match *of_proxy.lock().unwrap_or_else(PoisonError::into_inner) {
            None | Some(How::Refused) => Fault::Pass,
            Some(How::Silent) => Fault::Silence,
            Some(How::DoneInSilence) => Fault::DoneInSilence,
        };
        Self {
            proxy: FaultProxy::start(Some(url), decide).unwrap(),
            shut,
        }
    }

    pub(crate) fn shut(&self, how: How) {
        *self.shut.lock().unwrap() = Some(how);
        if how == How::Refused {
            self.proxy.close();
        }
    }

    pub(crate) fn open(&self) {
        if self.shut.lock().unwrap().take() == Some(How::Refused) {
            self.proxy.reopen().unwrap();
        }
        assert!(self.proxy.quiet(TIME));
    }
}

/// What became of a click.
#[derive(Debug)]
pub(crate) struct Clicked {
    pub(crate) answer: Value,
    /// From its event, or from the start of its process, to its answer.
    pub(crate) took: Duration,
    /// For how long the machine let nobody run meanwhile.
    pub(crate) held_up: Duration,
}

impl Clicked {
    /// What a user waits at most, cold start included, where the machine has time for it.
    const LIMIT: Duration = Duration::from_secs(1);

    /// It was answered within the promise. A click's way has two processes of ours, each of which may be held up.
    pub(crate) fn in_time(&self) {
        assert!(
            self.took < Self::LIMIT + self.held_up * 2,
            "{:?}, of which the machine held it up for {:?}",
            self.took,
            self.held_up
        );
    }

    /// It was redirected, and recorded.
    pub(crate) fn redirected(&self) {
        assert_eq!(self.answer["statusCode"], 302, "{:?}", self.answer);
        assert_eq!(self.answer["headers"]["location"], LANDING);
        assert_eq!(
            self.answer["headers"]["clickledger-recorded"],
            Value::Null,
            "{:?}",
            self.answer
        );
    }
}

/// A message of the spill's queue, as it triggers `settle`.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) receipt: String,
    pub(crate) body: String,
}

/// The account.
pub(crate) struct World {
    pub(crate) dynamodb: Door,
    pub(crate) kinesis: Door,
    pub(crate) sqs: Door,
    pub(crate) aws: Aws,
    account: Account,
    keys: KeyRing,
    runtime: tokio::runtime::Runtime,
    next: AtomicU64,
    /// Of each ad: its clicks, and how many impressions they were on.
    pub(crate) clicked: RefCell<HashMap<AdId, (u64, u64)>>,
    clicks: Cell<u64>,
    held_up: HeldUp,
    seen: RefCell<HashSet<String>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let account = runtime.block_on(async {
            let account = Account::with_queue().await;
            account.ads().await;
            account.placements().await;
            account.claims().await;
            account.buckets().await;
            account.lanes().await;
            account.hours().await;
            account.bucket().await;
            account.seeded_secret().await;
            account.stream(2).await;
            account
        });
        let url = account.emulator.url();
        let (dynamodb, kinesis, sqs) = (Door::before(url), Door::before(url), Door::before(url));
        let aws = account.aws.clone();
        let secret = aws.token_keys(TokenKeysOptions::default()).unwrap();
        let keys = runtime.block_on(KeyRing::load(Arc::new(secret))).unwrap();
        Self {
            dynamodb,
            kinesis,
            sqs,
            aws,
            account,
            keys,
            runtime,
            next: AtomicU64::new(1),
            clicked: RefCell::default(),
            clicks: Cell::new(0),
            held_up: HeldUp::watch(),
            seen: RefCell::default(),
        }
    }

    pub(crate) fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    fn spawn(&self, name: &str) -> Function {
        self.spawn_with(name, &[])
    }

    /// A variable of every function.
    pub(crate) fn variable(&self, name: &str) -> String {
        let variables = self.account.environment(self.account.emulator.url());
        let found = variables.into_iter().find(|(known, _)| *known == name);
        found.unwrap().1
    }

    /// Starts a function with these variables instead of those of the same names.
    pub(crate) fn spawn_with(&self, name: &str, instead: &[(&str, &str)]) -> Function {
        let doors = [
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.proxy.url()),
            ("AWS_ENDPOINT_URL_KINESIS", self.kinesis.proxy.url()),
            ("AWS_ENDPOINT_URL_SQS", self.sqs.proxy.url()),
        ];
        let variables = self.account.environment(self.account.emulator.url());
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .chain(&doors)
            .map(|(name, value)| (*name, value.as_str()))
            .chain(instead.iter().copied())
            .collect();
        Function::start(&binary(name).unwrap(), &[], &variables).unwrap()
    }

    /// A process of this function that has begun to ask for events.
    pub(crate) fn start(&self, name: &str) -> Function {
        let function = self.spawn(name);
        function.ready().unwrap();
        function
    }

    pub(crate) fn create_ad(&self) -> AdId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let ad = Ad {
            ad_id: AdId(number),
            campaign_id: CampaignId(100 + number),
            advertiser_id: AdvertiserId(200 + number),
            redirect_url: RedirectUrl::parse(LANDING).unwrap(),
            title: None,
            image_url: None,
            status: AdStatus::Active,
            fan_out: 2,
            version: 1,
            created_ms: now_ms(),
        };
        let catalog = self.aws.catalog(None, CatalogOptions::default()).unwrap();
        assert!(matches!(self.wait(catalog.create_ad(&ad)), Ok(Changed::Done)));
        ad.ad_id
    }

    /// The schedule's event to the function that writes it.
    pub(crate) fn write_snapshot(&self) {
        let event = include_str!("../../fixtures/schedule_snapshot.json");
        answered(self.start("maintain").invoke(event, TIME));
    }

    /// Makes the snapshot so much older.
    pub(crate) fn age_snapshot(&self, by_ms: i64) {
        let bucket = self.account.name(Resource::Bucket);
        self.wait(async {
            let s3 = self.aws.s3();
            let object = s3
                .get_object()
                .bucket(&bucket)
                .key(SNAPSHOT)
                .send()
                .await
                .unwrap();
            let object = object.body.collect().await.unwrap().to_vec();
            let (head, ads) = object.split_at(object.iter().position(|byte| *byte == b'\n').unwrap());
            let mut head: Value = serde_json::from_slice(head).unwrap();
            head["written_ms"] = json!(head["written_ms"].as_i64().unwrap() - by_ms);
            let aged = [head.to_string().as_bytes(), ads].concat();
            s3.put_object()
                .bucket(&bucket)
                .key(SNAPSHOT)
                .body(aged.into())
                .send()
                .await
                .unwrap();
        });
    }

    /// A new impression's.
    pub(crate) fn token(&self, ad_id: AdId) -> String {
        let shown_ms = now_ms() - 900;
        let mut random = [0; 10];
        SystemEntropy.fill(&mut random);
        self.keys.keys().ring.issue(&Impression {
            impression_id: ImpressionId::new(shown_ms, random),
            ad_id,
            placement_id: PlacementId(5),
            issued_at_s: u32::try_from(shown_ms / 1_000).unwrap(),
        })
    }

    fn event(ad: AdId, token: &str) -> String {
        let mut event: Value = serde_json::from_str(include_str!("../../fixtures/http_click.json")).unwrap();
        event["rawQueryString"] = json!(format!("adId={ad}&imp={token}"));
        event.to_string()
    }

    fn note(&self, ad: AdId, token: &str, answer: &Value) {
        if answer["statusCode"] == 302 {
            let mut clicked = self.clicked.borrow_mut();
            let (clicks, impressions) = clicked.entry(ad).or_default();
            *clicks += 1;
            *impressions += u64::from(self.seen.borrow_mut().insert(token.to_owned()));
            self.clicks.set(self.clicks.get() + 1);
        }
    }

    /// How many clicks were redirected.
    pub(crate) fn clicks(&self) -> u64 {
        self.clicks.get()
    }

    /// A click, worked by a process that is there.
    pub(crate) fn click(&self, function: &Function, ad: AdId, token: &str) -> Clicked {
        let (began, before) = (Instant::now(), self.held_up.so_far());
        let outcome = function.invoke(Self::event(ad, token), TIME);
        let took = began.elapsed();
        let held_up = self.held_up.so_far() - before;
        let answer = answered(outcome);
        self.note(ad, token, &answer);
        Clicked {
            answer,
            took,
            held_up,
        }
    }

    /// A click for which a process has to be started.
    pub(crate) fn cold_click(&self, ad: AdId, token: &str) -> (Function, Clicked) {
        let before = self.held_up.so_far();
        let function = self.spawn("click");
        let answer = answered(function.begin(Self::event(ad, token), TIME).wait());
        let took = function.ready().unwrap().to_answer.unwrap();
        let held_up = self.held_up.so_far() - before;
        self.note(ad, token, &answer);
        let clicked = Clicked {
            answer,
            took,
            held_up,
        };
        (function, clicked)
    }

    /// What waits in the spill; it is hidden from then on.
    pub(crate) fn spilled(&self) -> Vec<Message> {
        let receive = self
            .aws
            .sqs()
            .receive_message()
            .queue_url(self.account.name(Resource::SpillQueue))
            .max_number_of_messages(10);
        let received = self.wait(receive.send()).unwrap().messages.unwrap_or_default();
        let message = |message: aws_sdk_sqs::types::Message| Message {
            id: message.message_id.unwrap(),
            receipt: message.receipt_handle.unwrap(),
            body: message.body.unwrap(),
        };
        received.into_iter().map(message).collect()
    }

    pub(crate) fn delete(&self, message: &Message) {
        let delete = self
            .aws
            .sqs()
            .delete_message()
            .queue_url(self.account.name(Resource::SpillQueue))
            .receipt_handle(&message.receipt);
        self.wait(delete.send()).unwrap();
    }

    pub(crate) fn send_to_spill(&self, body: &str) {
        let send = self
            .aws
            .sqs()
            .send_message()
            .queue_url(self.account.name(Resource::SpillQueue))
            .message_body(body);
        self.wait(send.send()).unwrap();
    }

    /// Gives all that waits in the spill to `settle`, as the queue's trigger does.
    pub(crate) fn settle(&self) {
        let settle = self.start("settle");
        loop {
            let messages = self.spilled();
            if messages.is_empty() {
                return;
            }
            let records: Vec<Value> = messages
                .iter()
                .map(|message| {
                    json!({ "messageId": message.id, "receiptHandle": message.receipt, "body": message.body,
                        "attributes": {}, "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "us-east-1" })
                })
                .collect();
            let answer = answered(settle.invoke(json!({ "Records": records }).to_string(), TIME));
            assert_eq!(answer, json!({ "batchItemFailures": [] }), "{:?}", settle.lines());
            for message in &messages {
                self.delete(message);
            }
        }
    }

    /// Whether the hour is marked.
    pub(crate) fn dirty(&self, hour: Hour) -> bool {
        let hours = self.aws.hours(Patience::UNHURRIED).unwrap();
        let after = Hour::of(hour.start_ms() + 3_600_000);
        let dirty = self.wait(hours.dirty(hour, after)).unwrap();
        dirty == [hour]
    }
}

pub(crate) fn answered(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Answered(body) => serde_json::from_slice(&body).unwrap(),
        other => panic!("{other:?}"),
    }
}
