//! The doctor: quotas and settings of a stack against a wanted peak.
//!
//! Invariant: it only reads; what cannot be read is said with the permission that it takes, and is neither good nor bad.

use aws_sdk_dynamodb::types::{PointInTimeRecoveryStatus, TimeToLiveStatus};
use aws_sdk_kinesis::types::StreamMode;
use aws_sdk_sqs::types::QueueAttributeName;
use clickledger_core::ports::{PortError, PortResult};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use serde_json::json;

use super::client::Ask;
use super::stack::Stack;
use super::{Operator, judge, redrive};
use crate::failure;

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Enough, or right.
    Good(String),
    /// Too low, or wrong.
    Bad {
        /// What it is.
        found: String,
        /// What to do about it.
        raise: String,
    },
    /// It could not be read.
    Unread {
        /// Why not.
        why: String,
        /// What reading it takes.
        permission: &'static str,
    },
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub subject: String,
    /// How it is.
    pub health: Health,
}

/// Tables that can be restored to any second, by their outputs. Claims cannot, on purpose.
const RECOVERABLE: [&str; 6] = [
    "AdsTableName",
    "PlacementsTableName",
    "KeysTableName",
    "BucketsTableName",
    "LanesTableName",
    "HoursTableName",
];
/// Tables whose items expire.
const EXPIRING: [&str; 3] = ["ClaimsTableName", "BucketsTableName", "LanesTableName"];
/// Tables that every click may write.
const WRITTEN: [&str; 2] = ["ClaimsTableName", "BucketsTableName"];

type Look<'a> = (String, &'static str, BoxFuture<'a, PortResult<Health>>);

impl Operator {
    /// Looks at everything that this many clicks a second take.
    pub async fn examine(&self, stack: &Stack, clicks: u64) -> Vec<Finding> {
        let mut looks: Vec<Look<'_>> = vec![
            look(
                "Lambda concurrency of the account",
                "lambda:GetAccountSettings",
                self.concurrency(clicks),
            ),
            look(
                "reserved concurrency of click",
                "lambda:GetFunctionConcurrency, cloudformation:DescribeStackResource",
                self.reserved(stack, clicks),
            ),
            look(
                "API Gateway requests/s of the account",
                "servicequotas:GetServiceQuota",
                self.quota("apigateway", "L-8A5B8E43", judge::requests(clicks), "requests/s"),
            ),
            look(
                "DynamoDB writes/s of a table, by quota",
                "servicequotas:GetServiceQuota",
                self.quota("dynamodb", "L-AB614373", judge::writes(clicks), "write units/s"),
            ),
            look(
                "Kinesis shards of the account",
                "kinesis:DescribeLimits",
                self.shard_limit(stack, clicks),
            ),
            look(
                "stream: shards",
                "kinesis:DescribeStreamSummary",
                self.shards(stack, clicks),
            ),
            look(
                "stream: retention",
                "kinesis:DescribeStreamSummary",
                self.retention(stack),
            ),
            look(
                "mapping of the stream",
                "lambda:GetEventSourceMapping",
                self.mapping(stack),
            ),
            look(
                "spill: retention",
                "sqs:GetQueueAttributes",
                self.spill_retention(stack),
            ),
            look("dead letters", "sqs:GetQueueAttributes", self.dead_letters(stack)),
        ];
        for output in WRITTEN {
            looks.push(look(
                format!("{output}: warm writes/s"),
                "dynamodb:DescribeTable",
                self.warm(stack, output, clicks),
            ));
        }
        for output in RECOVERABLE {
            looks.push(look(
                format!("{output}: point-in-time recovery"),
                "dynamodb:DescribeContinuousBackups",
                self.recovery(stack, output),
            ));
        }
        for output in EXPIRING {
            looks.push(look(
                format!("{output}: expiry"),
                "dynamodb:DescribeTimeToLive",
                self.expiry(stack, output),
            ));
        }
        let mut findings = vec![throttle(stack, clicks)];
        let looked = looks.into_iter().map(|(subject, permission, looked)| async move {
            let health = looked.await.unwrap_or_else(|error| Health::Unread {
                why: error.to_string(),
                permission,
            });
            Finding { subject, health }
        });
        findings.extend(join_all(looked).await);
        findings
    }

    async fn concurrency(&self, clicks: u64) -> PortResult<Health> {
        let settings = self
            .ask_json("lambda", &Ask::Get("/2016-08-19/account-settings/"))
            .await?;
        let found = settings["AccountLimit"]["ConcurrentExecutions"].as_u64();
        let found = found.ok_or_else(|| failure::damaged("ConcurrentExecutions"))?;
        let raise = "the quota Concurrent executions of Lambda (L-B99A9384)";
        Ok(judge::at_least(
            found,
            judge::account_concurrency(clicks),
            "at once",
            raise,
        ))
    }

    async fn reserved(&self, stack: &Stack, clicks: u64) -> PortResult<Health> {
        let name = self.physical_name(&stack.name, "ClickFunction").await?;
        let path = format!("/2019-09-30/functions/{name}/concurrency");
        let found = self.ask_json("lambda", &Ask::Get(&path)).await?;
        Ok(judge::reserved(
            found["ReservedConcurrentExecutions"].as_u64(),
            clicks,
        ))
    }

    /// A quota of the account, or AWS's default where none was ever applied.
    async fn quota(
        &self,
        service: &'static str,
        code: &'static str,
        wanted: u64,
        what: &'static str,
    ) -> PortResult<Health> {
        let input = || json!({ "ServiceCode": service, "QuotaCode": code });
        let applied = Ask::Json("ServiceQuotasV20190624.GetServiceQuota", input());
        let answer = match self.ask_json("servicequotas", &applied).await {
            Err(error) if error.to_string().contains("NoSuchResourceException") => {
                let default = Ask::Json("ServiceQuotasV20190624.GetAWSDefaultServiceQuota", input());
                self.ask_json("servicequotas", &default).await
            }
            answer => answer,
        }?;
        let found = answer["Quota"]["Value"]
            .as_f64()
            .ok_or_else(|| failure::damaged("Quota"))?;
        let raise = format!("the quota {code} of {service}");
        // Quotas are whole numbers, told as decimals.
        Ok(judge::at_least(found as u64, wanted, what, &raise))
    }

    async fn stream(&self, stack: &Stack) -> PortResult<aws_sdk_kinesis::types::StreamDescriptionSummary> {
        let describe = self.aws.kinesis().describe_stream_summary();
        let answer = describe.stream_name(stack.output("StreamName")?).send().await;
        let summary = answer.map_err(failure::of_sdk)?.stream_description_summary;
        summary.ok_or_else(|| failure::damaged("StreamDescriptionSummary"))
    }

    async fn shards(&self, stack: &Stack, clicks: u64) -> PortResult<Health> {
        let summary = self.stream(stack).await?;
        let mode = summary.stream_mode_details.map(|details| details.stream_mode);
        Ok(judge::stream(
            mode == Some(StreamMode::OnDemand),
            whole(summary.open_shard_count),
            clicks,
        ))
    }

    async fn retention(&self, stack: &Stack) -> PortResult<Health> {
        let summary = self.stream(stack).await?;
        Ok(judge::retention(whole(summary.retention_period_hours)))
    }

    async fn shard_limit(&self, stack: &Stack, clicks: u64) -> PortResult<Health> {
        let limits = self
            .aws
            .kinesis()
            .describe_limits()
            .send()
            .await
            .map_err(failure::of_sdk)?;
        let ours = whole(self.stream(stack).await?.open_shard_count);
        let others = whole(limits.open_shard_count).saturating_sub(ours);
        let raise = "the quota of shards of Kinesis";
        Ok(judge::at_least(
            whole(limits.shard_limit),
            others + judge::shards(clicks),
            "shards",
            raise,
        ))
    }

    async fn mapping(&self, stack: &Stack) -> PortResult<Health> {
        let path = format!(
            "/2015-03-31/event-source-mappings/{}",
            stack.output("AggregateMappingId")?
        );
        Ok(judge::mapping(&self.ask_json("lambda", &Ask::Get(&path)).await?))
    }

    async fn spill_retention(&self, stack: &Stack) -> PortResult<Health> {
        let attributes = redrive::queue(&self.aws, stack.output("SpillQueueUrl")?).await?;
        let seconds = attributes.get(&QueueAttributeName::MessageRetentionPeriod);
        let seconds = seconds.and_then(|text| text.parse().ok());
        Ok(judge::spill(
            seconds.ok_or_else(|| failure::damaged("MessageRetentionPeriod"))?,
        ))
    }

    async fn dead_letters(&self, stack: &Stack) -> PortResult<Health> {
        let waiting = self.waiting(stack.output("DeadLetterQueueUrl")?).await?;
        Ok(judge::dead_letters(waiting.messages))
    }

    async fn warm(&self, stack: &Stack, output: &str, clicks: u64) -> PortResult<Health> {
        let describe = self
            .aws
            .dynamodb()
            .describe_table()
            .table_name(stack.output(output)?);
        let table = describe.send().await.map_err(failure::of_sdk)?.table;
        let warm = table.and_then(|table| table.warm_throughput?.write_units_per_second);
        let warm = warm.ok_or_else(|| PortError::rejected("the table does not tell its warm throughput"))?;
        let raise = "PeakClicksPerSecond, so that the table is warmed";
        Ok(judge::at_least(
            u64::try_from(warm).unwrap_or(0),
            judge::writes(clicks),
            "write units/s",
            raise,
        ))
    }

    async fn recovery(&self, stack: &Stack, output: &str) -> PortResult<Health> {
        let describe = self.aws.dynamodb().describe_continuous_backups();
        let answer = describe
            .table_name(stack.output(output)?)
            .send()
            .await
            .map_err(failure::of_sdk)?;
        let backups = answer.continuous_backups_description;
        let status = backups.and_then(|backups| {
            backups
                .point_in_time_recovery_description?
                .point_in_time_recovery_status
        });
        Ok(on(status == Some(PointInTimeRecoveryStatus::Enabled)))
    }

    async fn expiry(&self, stack: &Stack, output: &str) -> PortResult<Health> {
        let describe = self.aws.dynamodb().describe_time_to_live();
        let answer = describe
            .table_name(stack.output(output)?)
            .send()
            .await
            .map_err(failure::of_sdk)?;
        Ok(on(answer.time_to_live_description.is_some_and(|described| {
            described.attribute_name.as_deref() == Some("expires")
                && matches!(
                    described.time_to_live_status,
                    Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
                )
        })))
    }
}

fn look<'a>(
    subject: impl Into<String>,
    permission: &'static str,
    looked: impl Future<Output = PortResult<Health>> + Send + 'a,
) -> Look<'a> {
    (subject.into(), permission, looked.boxed())
}

/// Counts are not negative.
fn whole(count: impl TryInto<u64>) -> u64 {
    count.try_into().unwrap_or(0)
}

fn on(is: bool) -> Health {
    if is {
        Health::Good("on".to_owned())
    } else {
        Health::Bad {
            found: "off".to_owned(),
            raise: "deploy the template again".to_owned(),
        }
    }
}

/// Where the API begins to turn clicks away.
fn throttle(stack: &Stack, clicks: u64) -> Finding {
    let health = match stack.number("ClickRateLimit") {
        Some(limit) => judge::at_least(limit, clicks, "requests/s", "the parameter ClickRateLimit"),
        None => Health::Unread {
            why: "the stack has no parameter ClickRateLimit".to_owned(),
            permission: "cloudformation:DescribeStacks",
        },
    };
    Finding {
        subject: "throttle of /click".to_owned(),
        health,
    }
}
