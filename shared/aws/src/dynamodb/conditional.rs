//! Conditional writes: what becomes of one whose condition does not hold.
//!
//! Invariant: a put is not made again once it may have been applied: a second one would find the first and take it for another's.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use clickledger_core::ports::{Changed, PortResult};

use crate::failure;
use crate::patience::Patience;

/// Puts the item if its condition holds; else says whether there is one.
pub(super) async fn put(put: PutItemFluentBuilder, patience: Patience) -> PortResult<Changed> {
    let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let change = || async {
        match put.clone().send().await {
            Ok(_) => Ok(Changed::Done),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    let found = refused.item().is_some_and(|item| !item.is_empty());
                    Ok(if found {
                        Changed::Conflict
                    } else {
                        Changed::NotFound
                    })
                }
                _ => Err(failure::of_sdk(error)),
            },
        }
    };
    patience.run_once(change).await
}

/// One try at an update; says whether its condition held. Whether it may be made again is for the caller to know.
pub(super) async fn try_update(update: UpdateItemFluentBuilder) -> PortResult<bool> {
    match update.send().await {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
            _ => Err(failure::of_sdk(error)),
        },
    }
}
