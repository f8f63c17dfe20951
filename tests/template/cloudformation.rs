//! CloudFormation's YAML as plain values: `!Ref X` is `{"Ref": "X"}`, as in its JSON form.
//!
//! Invariant: nothing is evaluated and nothing dropped: what a test reads is what is deployed.

use std::path::Path;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// A template of this repository, by its path from the root.
pub(crate) fn template(path: &str) -> Value {
    parse(&text(path))
}

/// A file of this repository.
pub(crate) fn text(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn parse(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap();
    assert_eq!(documents.len(), 1, "one document in a template");
    value(&documents[0])
}

fn value(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(is)) => json!(is),
        Yaml::Value(Scalar::Integer(number)) => json!(number),
        Yaml::Value(Scalar::FloatingPoint(number)) => json!(number.into_inner()),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Mapping(pairs) => {
            let pairs = pairs.iter().map(|(key, item)| (key_text(key), value(item)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Yaml::Tagged(tag, inner) => function(&tag.suffix, inner),
        other => panic!("a template has no {other:?}"),
    }
}

fn key_text(key: &Yaml<'_>) -> String {
    match key {
        Yaml::Value(Scalar::Integer(number)) => number.to_string(),
        _ => key
            .as_str()
            .unwrap_or_else(|| panic!("{key:?} is no key"))
            .to_owned(),
    }
}

fn function(tag: &str, inner: &Yaml<'_>) -> Value {
    let argument = match value(inner) {
        Value::String(text) if tag == "GetAtt" => {
            let (resource, attribute) = text.split_once('.').unwrap();
            json!([resource, attribute])
        }
        // The argument of a function is a text, even where it looks like a number.
        argument => argument,
    };
    match tag {
        "Ref" | "Condition" => json!({ tag: argument }),
        _ => {
            let name = format!("Fn::{tag}");
            json!({ name: argument })
        }
    }
}

/// The resources of a type: their logical ids and what they are.
pub(crate) fn of_type<'a>(template: &'a Value, kind: &str) -> Vec<(&'a str, &'a Value)> {
    template["Resources"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, resource)| resource["Type"] == kind)
        .map(|(id, resource)| (id.as_str(), resource))
        .collect()
}

/// The properties of a resource.
pub(crate) fn properties<'a>(template: &'a Value, id: &str) -> &'a Value {
    let properties = &template["Resources"][id]["Properties"];
    assert!(properties.is_object(), "there is no {id}");
    properties
}

/// One or several, as a list.
pub(crate) fn list(value: &Value) -> Vec<&Value> {
    value
        .as_array()
        .map_or_else(|| vec![value], |items| items.iter().collect())
}

#[test]
fn functions_of_cloudformation_are_read_as_in_its_json_form() {
    let template =
        parse("A: !Ref B\nC: !GetAtt D.Arn\nE: !If [F, !Sub '${G}/x', 1]\n\"500\": { H: [true] }\n");
    assert_eq!(
        template,
        json!({
            "A": { "Ref": "B" },
            "C": { "Fn::GetAtt": ["D", "Arn"] },
            "E": { "Fn::If": ["F", { "Fn::Sub": "${G}/x" }, 1] },
            "500": { "H": [true] },
        })
    );
}
