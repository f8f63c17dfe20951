//! Queries, read to their end or to a limit.
//!
//! Invariant: every page has the whole patience of its own, and none is left out.

use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use clickledger_core::ports::PortResult;

use super::item::Item;
use crate::failure;
use crate::patience::Patience;

/// One page, from where the one before it ended.
pub(crate) async fn page(
    query: &QueryFluentBuilder,
    from: Option<Item>,
    patience: Patience,
) -> PortResult<QueryOutput> {
    let page = || async {
        let page = query.clone().set_exclusive_start_key(from.clone());
        page.send().await.map_err(failure::of_sdk)
    };
    patience.run(page).await
}

/// At most `limit` items (all, if `None`).
pub(crate) async fn items(
    query: QueryFluentBuilder,
    limit: Option<usize>,
    patience: Patience,
) -> PortResult<Vec<Item>> {
    let mut found = Vec::new();
    let mut from = None;
    loop {
        let left = limit.map(|limit| limit - found.len());
        if left == Some(0) {
            return Ok(found);
        }
        // A filter is applied behind the limit: the page may then hold fewer, and the next one follows.
        let query = query
            .clone()
            .set_limit(left.map(|left| i32::try_from(left).unwrap_or(i32::MAX)));
        let mut output = page(&query, from.take(), patience).await?;
        found.append(output.items.get_or_insert_default());
        from = output.last_evaluated_key;
        if from.is_none() {
            return Ok(found);
        }
    }
}
