//! Who may do what: every statement of every policy against the reviewed list, `reviewed.txt`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cloudformation::{list, of_type, template, text};

const TEMPLATES: [&str; 3] = ["template.yaml", "infra/lake.yaml", "infra/monitoring.yaml"];
/// Actions that AWS knows no resource for.
const WITHOUT_RESOURCE: [&str; 3] = [
    "cloudwatch:GetMetricData",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
];

/// How a resource is written in the list: `AdsTable`, `AdsTable/index/listing`.
fn resource(value: &Value) -> String {
    if let Some(name) = value.as_str() {
        return name.to_owned();
    }
    if let Some(name) = value["Ref"].as_str() {
        return name.to_owned();
    }
    if let Some(pair) = value["Fn::GetAtt"].as_array() {
        return pair[0].as_str().unwrap().to_owned();
    }
    let name = value["Fn::Sub"]
        .as_str()
        .unwrap_or_else(|| panic!("{value} names no resource"));
    name.replace(".Arn}", "}").replace("${", "").replace('}', "")
}

/// A statement in one line, and whether it is of the kinds that need a word.
fn line(of: &str, statement: &Value) -> String {
    let (condition, statement) = match statement["Fn::If"].as_array() {
        Some(arms) => {
            assert_eq!(
                arms[2],
                json!({ "Ref": "AWS::NoValue" }),
                "{of}: an else has no statement"
            );
            (format!(" if {}", arms[0].as_str().unwrap()), &arms[1])
        }
        None => (String::new(), statement),
    };
    let keys: BTreeSet<&str> = statement
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        BTreeSet::from(["Action", "Effect", "Resource", "Sid"]),
        "{of}: {statement}"
    );
    assert_eq!(statement["Effect"], "Allow", "{of}");
    let mut actions: Vec<&str> = list(&statement["Action"])
        .iter()
        .map(|a| a.as_str().unwrap())
        .collect();
    actions.sort_unstable();
    let mut on: Vec<String> = list(&statement["Resource"]).into_iter().map(resource).collect();
    on.sort_unstable();
    let sid = statement["Sid"].as_str().unwrap();
    format!("{of} {sid}{condition}: {} on {}", actions.join(" "), on.join(" "))
}

/// Every statement of every role, one a line.
fn statements(template: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, role) in of_type(template, "AWS::IAM::Role") {
        let role = &role["Properties"];
        for trust in list(&role["AssumeRolePolicyDocument"]["Statement"]) {
            assert_eq!(trust["Action"], "sts:AssumeRole", "{id}");
            let who = trust["Principal"]["Service"].as_str().unwrap();
            let only = if trust["Condition"]["StringEquals"]["aws:SourceAccount"]["Ref"] == "AWS::AccountId" {
                ", for this account"
            } else {
                ""
            };
            lines.push(format!("{id} is for {who}{only}"));
        }
        assert!(
            role["ManagedPolicyArns"].is_null(),
            "{id}: a managed policy is wider than ours"
        );
        for policy in list(&role["Policies"]) {
            for statement in list(&policy["PolicyDocument"]["Statement"]) {
                lines.push(line(id, statement));
            }
        }
    }
    for (id, policy) in of_type(template, "AWS::IAM::Policy") {
        let policy = &policy["Properties"];
        assert!(policy["Users"].is_null() && policy["Groups"].is_null(), "{id}");
        for role in list(&policy["Roles"]) {
            let role = role["Ref"].as_str().unwrap();
            for statement in list(&policy["PolicyDocument"]["Statement"]) {
                lines.push(line(role, statement));
            }
        }
    }
    lines
}

#[test]
fn every_statement_of_every_role_is_reviewed() {
    let reviewed = text("tests/template/reviewed.txt");
    let reviewed: BTreeSet<&str> = reviewed
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let found: Vec<String> = TEMPLATES
        .iter()
        .flat_map(|path| statements(&template(path)))
        .collect();
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    let new: Vec<_> = found.difference(&reviewed).collect();
    let gone: Vec<_> = reviewed.difference(&found).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "review, then mend tests/template/reviewed.txt\nnot in it: {new:#?}\nonly in it: {gone:#?}"
    );
}

#[test]
fn no_action_is_a_pattern_and_no_resource_is_everything_where_aws_allows_another() {
    for path in TEMPLATES {
        for line in statements(&template(path))
            .iter()
            .filter(|line| line.contains(" on "))
        {
            let (_, grant) = line.split_once(": ").unwrap();
            let (actions, resources) = grant.split_once(" on ").unwrap();
            assert!(!actions.contains('*'), "{line}");
            if resources.split(' ').any(|resource| resource == "*") {
                assert!(
                    actions
                        .split(' ')
                        .all(|action| WITHOUT_RESOURCE.contains(&action)),
                    "{line}"
                );
            }
        }
    }
}

#[test]
fn policies_of_resources_only_refuse_and_only_what_has_no_tls() {
    let template = template("template.yaml");
    let mut seen = 0;
    for kind in ["AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"] {
        for (id, policy) in of_type(&template, kind) {
            assert_eq!(policy["Condition"], "RequiresTls", "{id}");
            for statement in list(&policy["Properties"]["PolicyDocument"]["Statement"]) {
                assert_eq!(statement["Effect"], "Deny", "{id}");
                assert_eq!(
                    statement["Condition"],
                    json!({ "Bool": { "aws:SecureTransport": "false" } }),
                    "{id}"
                );
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 2);
    assert_eq!(template["Parameters"]["RequireTls"]["Default"], "true");
}

#[test]
fn only_our_api_may_invoke_functions_from_outside() {
    let template = template("template.yaml");
    let permissions = of_type(&template, "AWS::Lambda::Permission");
    assert_eq!(permissions.len(), 3);
    for (id, permission) in permissions {
        let permission = &permission["Properties"];
        assert_eq!(permission["Action"], "lambda:InvokeFunction", "{id}");
        assert_eq!(permission["Principal"], "apigateway.amazonaws.com", "{id}");
        let source = permission["SourceArn"]["Fn::Sub"].as_str().unwrap();
        assert!(
            source.contains(":execute-api:") && source.contains("${AWS::AccountId}:${Api}/"),
            "{id}: {source}"
        );
    }
}

#[test]
fn a_statement_is_told_by_its_condition_its_actions_and_what_they_are_on() {
    let statement = json!({ "Fn::If": ["HasProxy", {
        "Sid": "Read", "Effect": "Allow", "Action": ["a:Two", "a:One"],
        "Resource": [{ "Fn::Sub": "${T.Arn}/index/by" }, { "Fn::GetAtt": ["S", "Id"] }],
    }, { "Ref": "AWS::NoValue" }] });
    assert_eq!(
        line("Role", &statement),
        "Role Read if HasProxy: a:One a:Two on S T/index/by"
    );
}
