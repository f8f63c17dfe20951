//! Stream, mappings, tables, spill, bucket, lake, functions, alarms: the settings that exactness and durability rest on.

use std::collections::{BTreeMap, BTreeSet};

use clickledger_core::domain::record::ClickRecord;
use serde_json::{Value, json};

use crate::cloudformation::{list, of_type, properties, template, text};

const FUNCTIONS: [&str; 7] = [
    "Aggregate",
    "Click",
    "Maintain",
    "Placement",
    "Query",
    "Reconcile",
    "Settle",
];

#[test]
fn stream_keeps_records_for_seven_days_encrypted() {
    let template = template("template.yaml");
    let stream = properties(&template, "ClickStream");
    assert_eq!(stream["RetentionPeriodHours"], 168);
    assert_eq!(stream["StreamEncryption"]["EncryptionType"], "KMS");
    assert_eq!(stream["StreamModeDetails"]["StreamMode"]["Ref"], "StreamMode");
    assert_eq!(stream["ShardCount"]["Fn::If"][0], "Provisioned");
}

#[test]
fn stream_has_one_consumer_that_starts_at_the_horizon_and_gives_nothing_up() {
    let template = template("template.yaml");
    let mappings: Vec<_> = of_type(&template, "AWS::Lambda::EventSourceMapping")
        .into_iter()
        .filter(|(_, m)| m["Properties"]["EventSourceArn"]["Fn::GetAtt"][0] == "ClickStream")
        .collect();
    assert_eq!(mappings.len(), 1, "one consumer position per shard");
    assert_eq!(
        mappings[0].1["Properties"],
        json!({
            "FunctionName": { "Ref": "AggregateFunction" },
            "EventSourceArn": { "Fn::GetAtt": ["ClickStream", "Arn"] },
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": 6000,
            "MaximumBatchingWindowInSeconds": { "Ref": "AggregateWindowSeconds" },
            // Records of a shard come in order, one batch at a time.
            "ParallelizationFactor": 1,
            "BisectBatchOnFunctionError": true,
            // No limit: a batch is never given up while the stream keeps it, hence no on-failure destination either.
            "MaximumRetryAttempts": -1,
            "MaximumRecordAgeInSeconds": -1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        })
    );
}

#[test]
fn spill_waits_as_long_as_it_can_and_is_settled_in_part() {
    let template = template("template.yaml");
    let queue = properties(&template, "SpillQueue");
    let settle = properties(&template, "SettleFunction");
    let fourteen_days = 14 * 86_400;
    assert_eq!(queue["MessageRetentionPeriod"], fourteen_days);
    assert_eq!(
        queue["VisibilityTimeout"].as_u64().unwrap(),
        settle["Timeout"].as_u64().unwrap() * 6
    );
    assert_eq!(
        queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0],
        "SpillDeadLetters"
    );
    assert_eq!(queue["RedrivePolicy"]["maxReceiveCount"], 1000);
    assert_eq!(
        properties(&template, "SpillDeadLetters")["MessageRetentionPeriod"],
        fourteen_days
    );
    for (id, queue) in of_type(&template, "AWS::SQS::Queue") {
        assert_eq!(queue["Properties"]["SqsManagedSseEnabled"], true, "{id}");
    }
    let mapping = properties(&template, "SettleMapping");
    assert_eq!(
        mapping["FunctionResponseTypes"],
        json!(["ReportBatchItemFailures"])
    );
    assert_eq!(
        mapping["ScalingConfig"]["MaximumConcurrency"]["Fn::FindInMap"][2],
        "Settlers"
    );
}

/// Keys and indexes of a table as `docs/DATA_MODEL.md` writes them.
fn keys(table: &Value) -> Vec<String> {
    let types: BTreeMap<&str, &str> = list(&table["AttributeDefinitions"])
        .into_iter()
        .map(|a| {
            (
                a["AttributeName"].as_str().unwrap(),
                a["AttributeType"].as_str().unwrap(),
            )
        })
        .collect();
    let schema = |keys: &Value| {
        let keys: Vec<String> = list(keys)
            .into_iter()
            .map(|key| key["AttributeName"].as_str().unwrap())
            .map(|name| format!("`{name}` {}", types[name]))
            .collect();
        keys.join(", ")
    };
    let mut all = vec![schema(&table["KeySchema"])];
    for index in table["GlobalSecondaryIndexes"].as_array().into_iter().flatten() {
        assert_eq!(index["Projection"]["ProjectionType"], "ALL");
        all.push(format!(
            "`{}` ({})",
            index["IndexName"].as_str().unwrap(),
            schema(&index["KeySchema"])
        ));
    }
    all
}

#[test]
fn tables_have_the_keys_and_indexes_of_the_data_model() {
    let model = text("docs/DATA_MODEL.md");
    let model = &model[model.find("### DynamoDB").unwrap()..];
    let template = template("template.yaml");
    let tables = of_type(&template, "AWS::DynamoDB::Table");
    assert_eq!(tables.len(), 7);
    for (id, table) in tables {
        let name = id.strip_suffix("Table").unwrap().to_lowercase();
        let row = model
            .lines()
            .find(|line| line.starts_with(&format!("| {name} |")))
            .unwrap_or_else(|| panic!("the data model has no table {name}"));
        let keys = keys(&table["Properties"]);
        for key in &keys {
            assert!(row.contains(key.as_str()), "{name}: {key} is not in {row}");
        }
        let indexes = row.split('|').nth(3).unwrap().matches('(').count();
        assert_eq!(keys.len() - 1, indexes, "{name}: {row}");
    }
}

#[test]
fn tables_are_on_demand_encrypted_and_recoverable_but_for_claims() {
    let template = template("template.yaml");
    let mut with_ttl = BTreeSet::new();
    for (id, table) in of_type(&template, "AWS::DynamoDB::Table") {
        let table = &table["Properties"];
        assert_eq!(table["BillingMode"], "PAY_PER_REQUEST", "{id}");
        assert_eq!(table["SSESpecification"]["SSEEnabled"], true, "{id}");
        let recoverable = table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] == true;
        assert_eq!(recoverable, id != "ClaimsTable", "{id}");
        if let Some(ttl) = table["TimeToLiveSpecification"].as_object() {
            assert_eq!(ttl["AttributeName"], "expires", "{id}");
            assert_eq!(ttl["Enabled"], true, "{id}");
            with_ttl.insert(id);
        }
    }
    assert_eq!(
        with_ttl,
        BTreeSet::from(["BucketsTable", "ClaimsTable", "KeysTable", "LanesTable"])
    );
}

#[test]
fn what_money_is_paid_on_outlives_the_stack() {
    let template = template("template.yaml");
    let resources = template["Resources"].as_object().unwrap();
    let kept: BTreeSet<&str> = resources
        .iter()
        .filter(|(_, resource)| resource["DeletionPolicy"] == "RetainExceptOnCreate")
        .map(|(id, _)| id.as_str())
        .collect();
    let wanted = [
        "AdsTable",
        "Bucket",
        "BucketsTable",
        "HoursTable",
        "KeysTable",
        "PlacementsTable",
        "SpillDeadLetters",
        "TokenSecret",
    ];
    assert_eq!(kept, BTreeSet::from(wanted));
    for id in &wanted[..6] {
        if *id != "Bucket" {
            let protected = &properties(&template, id)["DeletionProtectionEnabled"];
            assert_eq!(
                *protected,
                json!({ "Fn::If": ["Protected", true, false] }),
                "{id}"
            );
        }
    }
}

#[test]
fn bucket_is_private_encrypted_and_ages_by_parameter() {
    let template = template("template.yaml");
    let bucket = properties(&template, "Bucket");
    for (rule, is) in bucket["PublicAccessBlockConfiguration"].as_object().unwrap() {
        assert_eq!(is, true, "{rule}");
    }
    assert_eq!(
        bucket["PublicAccessBlockConfiguration"]
            .as_object()
            .unwrap()
            .len(),
        4
    );
    let encryption = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
    assert_eq!(
        encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"],
        "AES256"
    );
    assert_eq!(
        bucket["OwnershipControls"]["Rules"][0]["ObjectOwnership"],
        "BucketOwnerEnforced"
    );
    let rules: BTreeMap<&str, &Value> = list(&bucket["LifecycleConfiguration"]["Rules"])
        .into_iter()
        .map(|rule| (rule["Prefix"].as_str().unwrap_or(""), rule))
        .collect();
    assert_eq!(
        rules["lake/"]["Transitions"][0]["TransitionInDays"]["Ref"],
        "LakeColdAfterDays"
    );
    for prefix in ["lake/", "lake-errors/"] {
        assert_eq!(rules[prefix]["ExpirationInDays"]["Ref"], "LakeExpireAfterDays");
    }
    assert_eq!(
        rules["quarantine/"]["ExpirationInDays"]["Ref"],
        "QuarantineExpireAfterDays"
    );
    assert!(
        !rules.contains_key("catalogue/"),
        "the snapshot is what clicks are redirected by"
    );
    assert!(rules.values().all(|rule| rule["Status"] == "Enabled"));
}

#[test]
fn lake_is_gzip_in_hours_of_arrival_with_the_producers_newlines_and_the_records_fields() {
    let lake = template("infra/lake.yaml");
    let to = &properties(&lake, "Delivery")["ExtendedS3DestinationConfiguration"];
    assert_eq!(
        properties(&lake, "Delivery")["DeliveryStreamType"],
        "KinesisStreamAsSource"
    );
    assert_eq!(to["CompressionFormat"]["Ref"], "Compression");
    let compression = &template("template.yaml")["Parameters"]["LakeCompression"];
    assert_eq!(compression["Default"], "GZIP");
    assert_eq!(
        to["FileExtension"]["Fn::If"],
        json!(["Compresses", ".ndjson.gz", ".ndjson"])
    );
    assert_eq!(
        to["Prefix"],
        "lake/dt=!{timestamp:yyyy-MM-dd}/hr=!{timestamp:HH}/"
    );
    assert!(
        to["ErrorOutputPrefix"]
            .as_str()
            .unwrap()
            .starts_with("lake-errors/")
    );
    // A processor could add a second newline, or change what was signed for.
    assert!(to["ProcessingConfiguration"].is_null() && to["DataFormatConversionConfiguration"].is_null());
    assert_eq!(to["BufferingHints"]["IntervalInSeconds"]["Ref"], "BufferSeconds");

    let table = &properties(&lake, "ClicksTable")["TableInput"];
    let projection = &table["Parameters"];
    assert_eq!(projection["projection.enabled"], "true");
    assert_eq!(
        projection["storage.location.template"]["Fn::Sub"],
        "s3://${BucketName}/lake/dt=${!dt}/hr=${!hr}/"
    );
    assert_eq!(projection["projection.hr.digits"], "2");
    let names = |columns: &Value| -> Vec<String> {
        list(columns)
            .into_iter()
            .map(|column| column["Name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&table["PartitionKeys"]), ["dt", "hr"]);
    // The record's reader names its fields when it meets one that it does not know.
    let error = serde_json::from_str::<ClickRecord>(r#"{"?":0}"#)
        .unwrap_err()
        .to_string();
    let (_, fields) = error.split_once("expected one of ").unwrap();
    let fields: Vec<&str> = fields.split('`').skip(1).step_by(2).collect();
    // And behind them a heartbeat's own.
    let heartbeat = ["heartbeat", "shard", "sent_at_ms"];
    let all: Vec<&str> = fields.into_iter().chain(heartbeat).collect();
    assert_eq!(names(&table["StorageDescriptor"]["Columns"]), all);
}

#[test]
fn every_function_has_its_crate_role_log_and_alarms() {
    let template = template("template.yaml");
    let monitoring = template_of_alarms();
    let functions = of_type(&template, "AWS::Serverless::Function");
    let ids: BTreeSet<&str> = functions
        .iter()
        .map(|(id, _)| id.strip_suffix("Function").unwrap())
        .collect();
    assert_eq!(ids, BTreeSet::from(FUNCTIONS));
    for (id, function) in functions {
        let word = id.strip_suffix("Function").unwrap();
        let name = word.to_lowercase();
        assert_eq!(function["Metadata"]["BuildMethod"], "rust-cargolambda", "{id}");
        assert_eq!(function["Metadata"]["BuildProperties"]["Binary"], name, "{id}");
        let function = &function["Properties"];
        assert_eq!(function["CodeUri"], format!("functions/{name}"), "{id}");
        assert_eq!(function["Role"]["Fn::GetAtt"][0], format!("{word}Role"), "{id}");
        let logging = &function["LoggingConfig"];
        assert_eq!(logging["LogFormat"], "JSON", "{id}");
        assert_eq!(logging["LogGroup"]["Ref"], format!("{word}Log"), "{id}");
        for alarm in ["Errors", "Throttles"] {
            let alarm = &monitoring[&format!("{word}{alarm}")]["Properties"];
            assert_eq!(
                alarm["Dimensions"][0]["Value"]["Ref"],
                format!("{id}Name"),
                "{id}"
            );
        }
    }
    let globals = &template["Globals"]["Function"];
    assert_eq!(globals["Tracing"], "Active");
    assert_eq!(globals["Runtime"], "provided.al2023");
    assert_eq!(globals["Architectures"][0]["Ref"], "Architecture");
    let reserved = &properties(&template, "ClickFunction")["ReservedConcurrentExecutions"]["Fn::If"];
    assert_eq!(reserved[0], "ReservesClick");
}

#[test]
fn every_log_ends_and_levels_never_drop_metrics() {
    for path in ["template.yaml", "infra/lake.yaml"] {
        let template = template(path);
        for (id, log) in of_type(&template, "AWS::Logs::LogGroup") {
            assert_eq!(
                log["Properties"]["RetentionInDays"]["Ref"], "LogRetentionDays",
                "{id}"
            );
        }
    }
    // Metrics are lines of level INFO.
    assert_eq!(
        template("template.yaml")["Parameters"]["LogLevel"]["AllowedValues"],
        json!(["INFO", "DEBUG"])
    );
}

/// The variables of the environment that functions get, and which resource each names.
#[test]
fn functions_are_told_names_of_the_data_model_only() {
    let documented = text("docs/DATA_MODEL.md") + &text("docs/OPERATIONS.md");
    let template = template("template.yaml");
    let mut seen = BTreeSet::new();
    for (id, function) in of_type(&template, "AWS::Serverless::Function") {
        for (name, value) in function["Properties"]["Environment"]["Variables"]
            .as_object()
            .unwrap()
        {
            let rest = name
                .strip_prefix("CLICKLEDGER_")
                .unwrap_or_else(|| panic!("{id}: {name}"));
            assert!(
                documented.contains(&format!("`{name}`")) || documented.contains(&format!("`…_{rest}`")),
                "{id}: {name} stands in no document"
            );
            if let Some(table) = rest.strip_suffix("_TABLE") {
                let resource = value["Ref"].as_str().unwrap().strip_suffix("Table").unwrap();
                assert_eq!(resource.to_uppercase(), table, "{id}");
            }
            seen.insert(name.clone());
        }
    }
    assert!(seen.len() > 11, "{seen:?}");
}

fn template_of_alarms() -> BTreeMap<String, Value> {
    let monitoring = template("infra/monitoring.yaml");
    of_type(&monitoring, "AWS::CloudWatch::Alarm")
        .into_iter()
        .map(|(id, alarm)| (id.to_owned(), alarm.clone()))
        .collect()
}

#[test]
fn every_alarm_tells_somebody_and_stands_in_the_runbook() {
    let runbook = text("docs/OPERATIONS.md");
    let alarms = template_of_alarms();
    assert!(alarms.len() > 25, "{}", alarms.len());
    for (id, alarm) in &alarms {
        let alarm = &alarm["Properties"];
        assert_eq!(
            alarm["AlarmName"]["Fn::Sub"],
            format!("${{Product}}-{id}"),
            "{id}"
        );
        assert_eq!(alarm["AlarmActions"][0]["Ref"], "AlarmTopic", "{id}");
        let function = FUNCTIONS
            .iter()
            .find_map(|f| id.strip_prefix(f))
            .filter(|r| ["Errors", "Throttles"].contains(r));
        let row = function.map_or_else(|| format!("`{id}`"), |rest| format!("`…{rest}`"));
        assert!(runbook.contains(&row), "{id}: {row} is not in docs/OPERATIONS.md");
    }
    for needed in [
        "CountingBehind",
        "StreamFull",
        "ApiServerErrors",
        "ApiTooManyRequests",
        "SpillDeep",
        "SpillOld",
        "DeadLetters",
        "LastResort",
        "Quarantined",
        "SnapshotStale",
        "LakeBehind",
        "SealingBehind",
        "HoursDisputed",
        "DailyRunBehind",
        "CountsDrifted",
    ] {
        assert!(alarms.contains_key(needed), "{needed}");
    }
}

#[test]
fn alarms_filters_and_dashboard_know_only_metrics_that_are_written() {
    let names = text("shared/core/src/metric_names.rs");
    let names: BTreeSet<&str> = names
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split('"').nth(1))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    let monitoring = template("infra/monitoring.yaml");
    let mut told = BTreeSet::new();
    for (_, alarm) in of_type(&monitoring, "AWS::CloudWatch::Alarm") {
        let alarm = &alarm["Properties"];
        if alarm["Namespace"]["Ref"] == "MetricsNamespace" {
            told.insert(alarm["MetricName"].as_str().unwrap().to_owned());
        }
    }
    for (_, filter) in of_type(&monitoring, "AWS::Logs::MetricFilter") {
        for made in list(&filter["Properties"]["MetricTransformations"]) {
            assert_eq!(made["MetricNamespace"]["Ref"], "MetricsNamespace");
            told.insert(made["MetricName"].as_str().unwrap().to_owned());
        }
    }
    let dashboard = text("infra/monitoring.yaml");
    for before in ["\"${MetricsNamespace}\", \"", "} MetricName=\\\""] {
        let after = dashboard.split(before).skip(1);
        let found: Vec<String> = after
            .filter_map(|rest| rest.split(['"', '\\']).next())
            .map(str::to_owned)
            .collect();
        assert!(!found.is_empty(), "{before} is not in the dashboard");
        told.extend(found);
    }
    for name in told {
        assert!(names.contains(name.as_str()), "nobody writes {name}");
    }
}

#[test]
fn schedules_write_the_snapshot_every_minute_and_rotate_keys_once() {
    let template = template("template.yaml");
    let snapshot = properties(&template, "SnapshotSchedule");
    assert_eq!(snapshot["ScheduleExpression"], "rate(1 minute)");
    assert_eq!(snapshot["Target"]["Input"], r#"{"task":"snapshot"}"#);
    let rotation = properties(&template, "TokenKeySchedule");
    assert_eq!(rotation["Target"]["Input"], r#"{"task":"rotate-token-keys"}"#);
    assert_eq!(rotation["Target"]["RetryPolicy"]["MaximumRetryAttempts"], 0);
    assert_eq!(
        properties(&template, "MaintainInvocations")["MaximumRetryAttempts"],
        0
    );
}

/// One type that the emulator does not know fails its whole change set: a new one is tried there first, or goes behind a
/// condition.
#[test]
fn only_types_that_were_tried_on_the_emulator_stand_in_the_templates() {
    let tried = BTreeSet::from([
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::Athena::WorkGroup",
        "AWS::CloudFormation::Stack",
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::DynamoDB::Table",
        "AWS::Glue::Database",
        "AWS::Glue::Table",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Kinesis::Stream",
        "AWS::KinesisFirehose::DeliveryStream",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Permission",
        "AWS::Logs::LogGroup",
        "AWS::Logs::LogStream",
        "AWS::Logs::MetricFilter",
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Topic",
        "AWS::SQS::Queue",
        "AWS::SQS::QueuePolicy",
        "AWS::Scheduler::Schedule",
        "AWS::SecretsManager::Secret",
        "AWS::Serverless::Function",
    ]);
    for path in ["template.yaml", "infra/lake.yaml", "infra/monitoring.yaml"] {
        let template = template(path);
        for (id, resource) in template["Resources"].as_object().unwrap() {
            let kind = resource["Type"].as_str().unwrap();
            assert!(
                tried.contains(kind) || resource["Condition"].is_string(),
                "{path}: {id} is a {kind}, which was not tried"
            );
        }
    }
}
