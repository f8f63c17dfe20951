//! Items: what a table's attributes hold, read and written.
//!
//! Invariant: an attribute that is missing or of another type is an error that names it, never a default.

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use clickledger_core::ports::PortResult;

use crate::failure::damaged;

/// One item.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// A string.
pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number.
#[allow(clippy::needless_pass_by_value)] // a number
pub(crate) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Bytes.
pub(crate) fn b(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// An item of these attributes.
pub(crate) fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The string of this name.
pub(crate) fn text<'a>(item: &'a Item, name: &str) -> PortResult<&'a str> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(damaged(name)),
    }
}

/// What the string of this name says.
pub(crate) fn parsed<T: FromStr>(item: &Item, name: &str) -> PortResult<T> {
    text(item, name)?.parse().map_err(|_| damaged(name))
}

/// The number of this name.
pub(crate) fn number<T: FromStr>(item: &Item, name: &str) -> PortResult<T> {
    optional_number(item, name)?.ok_or_else(|| damaged(name))
}

/// The number of this name, where there is one.
pub(crate) fn optional_number<T: FromStr>(item: &Item, name: &str) -> PortResult<Option<T>> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::N(digits)) => digits.parse().map(Some).map_err(|_| damaged(name)),
        Some(_) => Err(damaged(name)),
    }
}

/// The string of this name, where there is one.
pub(crate) fn optional_text<'a>(item: &'a Item, name: &str) -> PortResult<Option<&'a str>> {
    item.get(name).map(|_| text(item, name)).transpose()
}

/// The bytes of this name.
pub(crate) fn bytes<'a>(item: &'a Item, name: &str) -> PortResult<&'a [u8]> {
    match item.get(name) {
        Some(AttributeValue::B(blob)) => Ok(blob.as_ref()),
        _ => Err(damaged(name)),
    }
}

/// The list of this name.
pub(crate) fn list<'a>(item: &'a Item, name: &str) -> PortResult<&'a [AttributeValue]> {
    match item.get(name) {
        Some(AttributeValue::L(list)) => Ok(list),
        _ => Err(damaged(name)),
    }
}
