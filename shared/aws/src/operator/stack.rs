//! A deployed stack: the names that it gave its resources, and the parameters that it was deployed with.
//!
//! Invariant: a name that the stack does not tell is an error that says which, never a guess.

use std::collections::BTreeMap;

use aws_smithy_xml::decode::{Document, ScopedDecoder, XmlDecodeError, try_data};
use clickledger_core::ports::{PortError, PortResult};

use super::Operator;
use super::client::Ask;

/// What CloudFormation knows of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// `StreamName`, `SpillQueueUrl` … as the template's outputs name them.
    pub outputs: BTreeMap<String, String>,
    /// As the template names them.
    pub parameters: BTreeMap<String, String>,
}

impl Stack {
    /// The value of an output.
    ///
    /// # Errors
    /// [`PortError::Rejected`]: the stack has none of this name.
    pub fn output(&self, name: &str) -> PortResult<&str> {
        self.outputs.get(name).map(String::as_str).ok_or_else(|| {
            PortError::rejected(format!(
                "the stack {} has no output {name}: is it one of Clickledger's, deployed to its end?",
                self.name
            ))
        })
    }

    /// The number that a parameter is.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.parameters.get(name)?.parse().ok()
    }
}

impl Operator {
    /// The stack of this name.
    ///
    /// # Errors
    /// There is none, or CloudFormation does not answer.
    pub async fn stack(&self, name: &str) -> PortResult<Stack> {
        let fields = [
            ("Action", "DescribeStacks"),
            ("Version", "2010-05-15"),
            ("StackName", name),
        ];
        let body = self.ask("cloudformation", &Ask::Query(&fields)).await?;
        let text = std::str::from_utf8(&body).map_err(PortError::rejected)?;
        let (outputs, parameters) = stack_of(text).map_err(PortError::rejected)?;
        Ok(Stack {
            name: name.to_owned(),
            outputs,
            parameters,
        })
    }

    /// The name that CloudFormation gave a resource of the template.
    pub(super) async fn physical_name(&self, stack: &str, logical: &str) -> PortResult<String> {
        let fields = [
            ("Action", "DescribeStackResource"),
            ("Version", "2010-05-15"),
            ("StackName", stack),
            ("LogicalResourceId", logical),
        ];
        let body = self.ask("cloudformation", &Ask::Query(&fields)).await?;
        let text = std::str::from_utf8(&body).map_err(PortError::rejected)?;
        physical_id(text)
            .map_err(PortError::rejected)?
            .ok_or_else(|| PortError::rejected(format!("the stack {stack} has no resource {logical}")))
    }
}

type Named = BTreeMap<String, String>;

fn stack_of(xml: &str) -> Result<(Named, Named), XmlDecodeError> {
    let (mut outputs, mut parameters) = (Named::new(), Named::new());
    let mut document = Document::new(xml);
    let mut root = document.root_element()?;
    while let Some(mut result) = root.next_tag() {
        while let Some(mut stacks) = result.next_tag() {
            if !stacks.start_el().matches("Stacks") {
                continue;
            }
            while let Some(mut stack) = stacks.next_tag() {
                while let Some(mut part) = stack.next_tag() {
                    if part.start_el().matches("Outputs") {
                        pairs(&mut part, "OutputKey", "OutputValue", &mut outputs)?;
                    } else if part.start_el().matches("Parameters") {
                        pairs(&mut part, "ParameterKey", "ParameterValue", &mut parameters)?;
                    }
                }
            }
        }
    }
    Ok((outputs, parameters))
}

fn pairs(
    list: &mut ScopedDecoder<'_, '_>,
    key: &str,
    value: &str,
    into: &mut Named,
) -> Result<(), XmlDecodeError> {
    while let Some(mut member) = list.next_tag() {
        let (mut found_key, mut found_value) = (None, String::new());
        while let Some(mut field) = member.next_tag() {
            if field.start_el().matches(key) {
                found_key = Some(try_data(&mut field)?.into_owned());
            } else if field.start_el().matches(value) {
                found_value = try_data(&mut field)?.into_owned();
            }
        }
        if let Some(found_key) = found_key {
            into.insert(found_key, found_value);
        }
    }
    Ok(())
}

fn physical_id(xml: &str) -> Result<Option<String>, XmlDecodeError> {
    let mut document = Document::new(xml);
    let mut root = document.root_element()?;
    while let Some(mut result) = root.next_tag() {
        while let Some(mut detail) = result.next_tag() {
            while let Some(mut field) = detail.next_tag() {
                if field.start_el().matches("PhysicalResourceId") {
                    return Ok(Some(try_data(&mut field)?.into_owned()));
                }
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACKS: &str = r#"<?xml version="1.0"?>
<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
  <DescribeStacksResult><Stacks><member>
    <StackName>s</StackName>
    <Parameters><member><ParameterKey>PeakClicksPerSecond</ParameterKey><ParameterValue>1000</ParameterValue></member>
      <member><ParameterKey>AlarmEmail</ParameterKey><ParameterValue/></member></Parameters>
    <Tags><member><Key>OutputKey</Key><Value>no</Value></member></Tags>
    <Outputs><member><Description>a &lt;b&gt;</Description><OutputKey>StreamName</OutputKey><OutputValue>a&amp;b</OutputValue></member></Outputs>
  </member></Stacks></DescribeStacksResult>
  <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
</DescribeStacksResponse>"#;

    #[test]
    fn outputs_and_parameters_are_read_from_cloudformations_xml() {
        let (outputs, parameters) = stack_of(STACKS).unwrap();
        let stack = Stack {
            name: "s".to_owned(),
            outputs,
            parameters,
        };
        assert_eq!(stack.output("StreamName").unwrap(), "a&b");
        assert_eq!(stack.outputs.len(), 1);
        assert_eq!(stack.number("PeakClicksPerSecond"), Some(1000));
        assert_eq!(stack.number("AlarmEmail"), None);
        let error = stack.output("SpillQueueUrl").unwrap_err();
        assert!(error.to_string().contains("SpillQueueUrl"), "{error}");
        for hostile in ["", "<", "<a>", "plain", "{}", "<a><b></a></b>", &STACKS[..200]] {
            let read = stack_of(hostile);
            assert!(
                read.is_err() || read.is_ok_and(|(outputs, _)| outputs.is_empty()),
                "{hostile}"
            );
        }
    }

    #[test]
    fn a_resources_name_is_read() {
        let xml = "<R><DescribeStackResourceResult><StackResourceDetail><LogicalResourceId>ClickFunction</LogicalResourceId>\
            <PhysicalResourceId>s-Click-1</PhysicalResourceId></StackResourceDetail></DescribeStackResourceResult></R>";
        assert_eq!(physical_id(xml).unwrap().as_deref(), Some("s-Click-1"));
        assert_eq!(physical_id("<R/>").unwrap(), None);
    }
}
