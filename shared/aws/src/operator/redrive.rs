//! Last-resort records out of a log, and dead letters back into the spill.
//!
//! Invariant: what is taken from a line is a record that counting can read, under its own partition key; everything else is told
//! with its reason. A record may come several times: the fold drops repeats.

use aws_sdk_sqs::types::QueueAttributeName;
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::record::CountedClick;
use clickledger_core::ports::{Outgoing, PortError, PortResult};
use serde_json::{Value, json};

use super::Operator;
use super::client::Ask;
use crate::failure;
use crate::spill::{LAST_RESORT_FIELD, SpillQueue};
use crate::{Aws, Patience};

/// What a line of a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogLine {
    /// A last-resort record.
    Record(Outgoing),
    /// Something else.
    Other,
    /// What should be a last-resort record, and why it is none.
    Bad(String),
}

impl LogLine {
    /// Reads a line as the function wrote it, also with a time before it, as exports have it.
    pub fn read(line: &str) -> Self {
        if !line.contains(LAST_RESORT_FIELD) {
            return Self::Other;
        }
        let Some(start) = line.find('{') else {
            return Self::Other;
        };
        let event: Value = match serde_json::from_str(line[start..].trim_end()) {
            Ok(event) => event,
            Err(error) => return Self::Bad(format!("no JSON object on one line: {error}")),
        };
        match &event[LAST_RESORT_FIELD] {
            // The name stands somewhere in it, but not as its field.
            Value::Null => Self::Other,
            Value::String(body) => match record(body) {
                Ok(record) => Self::Record(record),
                Err(reason) => Self::Bad(reason),
            },
            _ => Self::Bad(format!("{LAST_RESORT_FIELD} must be a text")),
        }
    }
}

fn record(body: &str) -> Result<Outgoing, String> {
    let outgoing = SpillQueue::record(body).map_err(|error| error.to_string())?;
    CountedClick::parse(&outgoing.data).map_err(|error| error.to_string())?;
    let click: ClickRecord = serde_json::from_slice(&outgoing.data).map_err(|error| error.to_string())?;
    if click.partition_key != outgoing.partition_key {
        return Err("the partition key is not the record's own".to_owned());
    }
    if !outgoing.data.ends_with(b"\n") {
        return Err("the record does not end its line".to_owned());
    }
    Ok(outgoing)
}

/// A page of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The messages that may hold records, in the order of their times.
    pub messages: Vec<String>,
    /// What brings the next page; a page may be empty and not the last.
    pub next: Option<String>,
}

/// What waits in the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The queue's ARN.
    pub arn: String,
    /// How many messages, about.
    pub messages: u64,
}

impl Operator {
    /// A page of the log's messages of this time (Unix milliseconds, `to_ms` exclusive) that name the field of last-resort
    /// records.
    ///
    /// # Errors
    /// CloudWatch Logs does not answer, or says no.
    pub async fn last_resort_messages(
        &self,
        log: &str,
        from_ms: i64,
        to_ms: i64,
        next: Option<String>,
    ) -> PortResult<LogPage> {
        let mut input = json!({
            "logGroupName": log,
            "startTime": from_ms,
            // Theirs is inclusive.
            "endTime": to_ms - 1,
            "filterPattern": format!("\"{LAST_RESORT_FIELD}\""),
        });
        if let Some(next) = &next {
            input["nextToken"] = json!(next);
        }
        let ask = Ask::Json("Logs_20140328.FilterLogEvents", input);
        let page = self.ask_json("logs", &ask).await?;
        let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        let messages = events.iter().filter_map(|event| event["message"].as_str());
        let following = page["nextToken"].as_str().map(str::to_owned);
        if following.is_some() && following == next {
            return Err(PortError::rejected("the log's pages go round in circles"));
        }
        Ok(LogPage {
            messages: messages.map(str::to_owned).collect(),
            next: following,
        })
    }

    /// The queue of this URL, whatever the environment says.
    pub fn spill(&self, url: &str) -> SpillQueue {
        SpillQueue::at(self.aws.sqs(), url.to_owned(), Patience::UNHURRIED)
    }

    /// What waits in a queue.
    ///
    /// # Errors
    /// SQS does not answer, or says no.
    pub async fn waiting(&self, url: &str) -> PortResult<Waiting> {
        let attributes = queue(&self.aws, url).await?;
        let get = |name: QueueAttributeName| attributes.get(&name).map(String::as_str);
        let number = |name| get(name).and_then(|text| text.parse().ok()).unwrap_or(0_u64);
        let arn = get(QueueAttributeName::QueueArn).ok_or_else(|| failure::damaged("QueueArn"))?;
        Ok(Waiting {
            arn: arn.to_owned(),
            messages: number(QueueAttributeName::ApproximateNumberOfMessages)
                + number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        })
    }

    /// Begins to move a dead-letter queue's messages back to where they came from; SQS goes on by itself. Answers the task's
    /// handle.
    ///
    /// # Errors
    /// SQS does not answer, or says no.
    pub async fn move_back(&self, dead_letters_arn: &str) -> PortResult<String> {
        let start = self.aws.sqs().start_message_move_task();
        let started = start.source_arn(dead_letters_arn).send().await;
        let started = started.map_err(failure::of_sdk)?;
        Ok(started.task_handle.unwrap_or_default())
    }
}

/// All attributes of a queue.
pub(super) async fn queue(
    aws: &Aws,
    url: &str,
) -> PortResult<std::collections::HashMap<QueueAttributeName, String>> {
    let get = aws.sqs().get_queue_attributes().queue_url(url);
    let answer = get.attribute_names(QueueAttributeName::All).send().await;
    Ok(answer.map_err(failure::of_sdk)?.attributes.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use clickledger_testkit::fixtures::ClickMaker;

    use super::*;

    fn outgoing() -> Outgoing {
        let click = ClickMaker::new(7, 10, 1_767_312_000_000, 10.0).record();
        Outgoing {
            partition_key: click.partition_key.clone(),
            data: click.to_line().unwrap(),
        }
    }

    /// As the function `click` writes it.
    fn line(body: &str) -> String {
        json!({ "level": "ERROR", "message": "neither", LAST_RESORT_FIELD: body }).to_string()
    }

    #[test]
    fn a_record_is_read_from_its_line_also_with_a_time_before_it() {
        let record = outgoing();
        let line = line(&SpillQueue::body(&record).unwrap());
        for line in [
            line.clone(),
            format!("{line}\r\n"),
            format!("2026-01-02T00:00:00.000Z {line}"),
        ] {
            assert_eq!(LogLine::read(&line), LogLine::Record(record.clone()));
        }
    }

    #[test]
    fn other_lines_are_passed_over() {
        for other in [
            "",
            "{}",
            "START RequestId: 1",
            "{\"message\":\"a warning of no such field\"}",
            "{\"message\":\"last_resort_record\"}",
            "last_resort_record",
        ] {
            assert_eq!(LogLine::read(other), LogLine::Other, "{other}");
        }
    }

    #[test]
    fn hostile_lines_are_refused_with_a_reason() {
        let good = outgoing();
        let body = |record: &Outgoing| SpillQueue::body(record).unwrap();
        let with = |partition_key: &str, data: &[u8]| {
            body(&Outgoing {
                partition_key: partition_key.to_owned(),
                data: data.to_vec(),
            })
        };
        let deep = "[".repeat(100_000);
        let whole = line(&body(&good));
        let mut hostile = vec![
            whole[..whole.len() - 1].to_owned(),
            whole[..whole.len() / 2].to_owned(),
            format!("{whole}{whole}"),
            format!("{{\"last_resort_record\":{deep}"),
            "{\"last_resort_record\":7}".to_owned(),
            "{\"last_resort_record\":{\"partition_key\":\"7#3\"}}".to_owned(),
            line(""),
            line("{}"),
            line("{\"partition_key\":\"7#3\",\"data\":\"%%%\"}"),
            line(&with("7#3", b"")),
            line(&with("7#3", b"{\"v\":1}\n")),
            line(&with("7#3", &[0xff, 0xfe])),
            line(&with("another", &good.data)),
            line(&with(&good.partition_key, &good.data[..good.data.len() - 1])),
            line(&with(
                &good.partition_key,
                &[&good.data[..], &good.data[..]].concat(),
            )),
        ];
        hostile.push(whole.replace("last_resort_record\":\"", "last_resort_record\":\"\\u0000"));
        for line in hostile {
            let read = LogLine::read(&line);
            assert!(matches!(read, LogLine::Bad(_)), "{read:?}: {:.200}", line);
        }
    }
}
