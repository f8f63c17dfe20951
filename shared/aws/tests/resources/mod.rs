//! An account of one test: the resources as `docs/DATA_MODEL.md` defines them.

pub mod glue;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use clickledger_aws::{Aws, Names, Resource, SystemClock, Target};

use crate::emulator::Emulator;

/// What no other test uses.
pub struct Account {
    /// Clients and names.
    pub aws: Aws,
    /// To be held as long as the account is used.
    pub emulator: Arc<Emulator>,
    place: Place,
}

/// Where an account is, and what it names.
#[derive(Clone)]
pub struct Place {
    target: Target,
    names: Names,
}

impl Place {
    /// An account that nobody else uses, at this address.
    pub fn new(endpoint: &str) -> Self {
        let number = RandomState::new().hash_one("account") % 900_000_000_000 + 100_000_000_000;
        let target = Target {
            endpoint: endpoint.to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: number.to_string(),
            secret_access_key: "secret".to_owned(),
        };
        let names = Names::default()
            .with(Resource::Ads, "ads")
            .with(Resource::Placements, "placements")
            .with(Resource::Keys, "keys")
            .with(Resource::Claims, "claims")
            .with(Resource::Buckets, "buckets")
            .with(Resource::Lanes, "lanes")
            .with(Resource::Hours, "hours")
            .with(Resource::Stream, "clicks")
            .with(Resource::Bucket, format!("clickledger-{number}"))
            .with(Resource::TokenSecret, "clickledger/token-keys")
            .with(Resource::LakeDatabase, "clickledger")
            .with(Resource::Workgroup, "primary");
        Self { target, names }
    }

    /// With another name for a resource.
    pub fn named(mut self, resource: Resource, name: &str) -> Self {
        self.names = self.names.with(resource, name);
        self
    }

    /// The same, spoken to through another address.
    pub fn through(&self, endpoint: &str) -> Self {
        let mut place = self.clone();
        endpoint.clone_into(&mut place.target.endpoint);
        place
    }

    /// Clients and names.
    pub fn aws(&self) -> Aws {
        Aws::at(self.target.clone(), self.names.clone(), Arc::new(SystemClock)).unwrap()
    }

    /// A resource's name.
    pub fn name(&self, resource: Resource) -> String {
        self.names.get(resource).unwrap().to_owned()
    }

    /// Where the emulator is, and the number of the account there.
    pub fn at(&self) -> (String, String) {
        (self.target.endpoint.clone(), self.target.access_key_id.clone())
    }

    /// What a function's environment says of it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let name =
            |resource: Resource| Some((resource.variable(), self.names.get(resource).ok()?.to_owned()));
        let target = self.target.clone();
        let mut environment: Vec<_> = Resource::ALL.into_iter().filter_map(name).collect();
        environment.extend([
            ("AWS_ENDPOINT_URL", target.endpoint),
            ("AWS_REGION", target.region),
            ("AWS_ACCESS_KEY_ID", target.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", target.secret_access_key),
        ]);
        environment
    }
}

/// A key: its name, and what it is.
type Key = (&'static str, ScalarAttributeType);
/// An index: its name, partition and sort key.
type Index = (&'static str, Key, Option<Key>);

const S: ScalarAttributeType = ScalarAttributeType::S;
const N: ScalarAttributeType = ScalarAttributeType::N;
const B: ScalarAttributeType = ScalarAttributeType::B;

fn schema(partition: &Key, sort: Option<&Key>) -> Vec<KeySchemaElement> {
    let element = |key: &Key, kind| {
        KeySchemaElement::builder()
            .attribute_name(key.0)
            .key_type(kind)
            .build()
            .unwrap()
    };
    let sort = sort.map(|sort| element(sort, KeyType::Range));
    [element(partition, KeyType::Hash)]
        .into_iter()
        .chain(sort)
        .collect()
}

impl Account {
    /// An account without resources, on the emulator that this process shares.
    pub fn new() -> Self {
        let emulator = Emulator::shared().unwrap();
        let place = Place::new(emulator.url());
        Self {
            aws: place.aws(),
            emulator,
            place,
        }
    }

    /// Where the emulator is, and the number of the account there.
    pub fn at(&self) -> (String, String) {
        self.place.at()
    }

    /// With a queue, whose URL only the queue itself knows.
    pub async fn with_queue() -> Self {
        let account = Self::new();
        let made = account.aws.sqs().create_queue().queue_name("spill").send().await;
        let url = made.unwrap().queue_url.unwrap();
        let place = account.place.named(Resource::SpillQueue, &url);
        Self {
            aws: place.aws(),
            place,
            ..account
        }
    }

    /// The same account, spoken to through another address.
    pub fn through(&self, endpoint: &str) -> Aws {
        self.place.through(endpoint).aws()
    }

    /// What a function's environment says of it, where it speaks to it through this address.
    pub fn environment(&self, endpoint: &str) -> Vec<(&'static str, String)> {
        self.place.through(endpoint).environment()
    }

    /// A resource's name.
    pub fn name(&self, resource: Resource) -> String {
        self.place.name(resource)
    }

    /// Calls an operation of a service that no adapter speaks to, by its JSON protocol.
    pub fn call(&self, service: &str, target: &str, input: &serde_json::Value) {
        use std::io::{Read, Write};
        let address = self.emulator.url().trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let (body, key) = (input.to_string(), &self.place.target.access_key_id);
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nX-Amz-Target: {target}\r\n\
             Content-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={key}/20260102/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=0\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{target}: {answer}");
    }

    async fn table(&self, name: &str, partition: Key, sort: Option<Key>, indexes: &[Index]) {
        let of_indexes = indexes
            .iter()
            .flat_map(|(_, partition, sort)| [Some(partition), sort.as_ref()]);
        let mut keys: Vec<&Key> = [Some(&partition), sort.as_ref()]
            .into_iter()
            .chain(of_indexes)
            .flatten()
            .collect();
        keys.sort_by_key(|key| key.0);
        keys.dedup();
        let attribute = |key: &&Key| {
            AttributeDefinition::builder()
                .attribute_name(key.0)
                .attribute_type(key.1.clone())
                .build()
                .unwrap()
        };
        let index = |(name, partition, sort): &Index| {
            GlobalSecondaryIndex::builder()
                .index_name(*name)
                .set_key_schema(Some(schema(partition, sort.as_ref())))
                .projection(Projection::builder().projection_type(ProjectionType::All).build())
                .build()
                .unwrap()
        };
        let indexes: Vec<_> = indexes.iter().map(index).collect();
        self.aws
            .dynamodb()
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest)
            .set_attribute_definitions(Some(keys.iter().map(attribute).collect()))
            .set_key_schema(Some(schema(&partition, sort.as_ref())))
            .set_global_secondary_indexes((!indexes.is_empty()).then_some(indexes))
            .send()
            .await
            .unwrap();
    }

    pub async fn ads(&self) {
        let ad_id = ("ad_id", N);
        let indexes = [
            ("by_advertiser", ("advertiser_id", N), Some(ad_id.clone())),
            ("by_campaign", ("campaign_id", N), Some(ad_id.clone())),
            ("listing", ("listed", S), Some(ad_id.clone())),
        ];
        self.table("ads", ad_id, None, &indexes).await;
    }

    pub async fn placements(&self) {
        let slot = ("slot", S);
        let indexes = [
            ("by_placement", ("placement_id", N), None),
            ("listing", ("listed", S), Some(slot.clone())),
        ];
        self.table("placements", slot, None, &indexes).await;
    }

    pub async fn keys(&self) {
        let key_id = ("key_id", S);
        let indexes = [("listing", ("listed", S), Some(key_id.clone()))];
        self.table("keys", key_id, None, &indexes).await;
    }

    pub async fn claims(&self) {
        self.table("claims", ("impression_id", B), None, &[]).await;
    }

    pub async fn buckets(&self) {
        self.table("buckets", ("pk", S), Some(("sk", S)), &[]).await;
    }

    pub async fn lanes(&self) {
        self.lanes_named("lanes").await;
    }

    pub async fn lanes_named(&self, name: &str) {
        self.table(name, ("shard", S), Some(("last", B)), &[]).await;
    }

    pub async fn hours(&self) {
        self.table("hours", ("pk", S), Some(("sk", S)), &[]).await;
    }

    /// The bucket, and the lake's tables over its folders `lake/` and `history/`.
    pub async fn lake(&self) {
        self.bucket().await;
        let (endpoint, number) = self.place.at();
        let database = self.name(Resource::LakeDatabase);
        let bucket = self.name(Resource::Bucket);
        let make = move || glue::make_lake(&endpoint, &number, &database, &bucket);
        tokio::task::spawn_blocking(make).await.unwrap();
    }

    pub async fn bucket(&self) {
        let name = self.name(Resource::Bucket);
        self.aws.s3().create_bucket().bucket(name).send().await.unwrap();
    }

    pub async fn seeded_secret(&self) {
        let create = self.aws.secrets().create_secret();
        let seed = r#"{"seed":"nLs3lXwWvYbq8wW0y0k9y1pVQbC2mT5r"}"#;
        create
            .name(self.name(Resource::TokenSecret))
            .secret_string(seed)
            .send()
            .await
            .unwrap();
    }

    /// The stream, when it takes records.
    pub async fn stream(&self, shards: i32) {
        let kinesis = self.aws.kinesis();
        let create = kinesis.create_stream().stream_name("clicks").shard_count(shards);
        create.send().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let summary = kinesis
                .describe_stream_summary()
                .stream_name("clicks")
                .send()
                .await
                .unwrap();
            let status = summary
                .stream_description_summary
                .map(|summary| summary.stream_status);
            if status == Some(aws_sdk_kinesis::types::StreamStatus::Active) {
                return;
            }
            assert!(Instant::now() < deadline, "the stream is {status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
