//! What operators ask AWS: the settings and quotas of a deployed stack, and the records of its last-resort log.
//!
//! No function calls any of it, and no SDK crate is added for it: services that no adapter needs are asked by [`client`], one
//! signed request at a time. Invariant: examining changes nothing.

pub(crate) mod client;
mod doctor;
mod judge;
mod redrive;
mod stack;

pub use doctor::{Finding, Health};
pub use redrive::{LogLine, LogPage, Waiting};
pub use stack::Stack;

use crate::connect::Aws;

/// Asks AWS on behalf of an operator.
#[derive(Clone)]
pub struct Operator {
    aws: Aws,
}

impl Aws {
    /// For operators.
    pub fn operator(&self) -> Operator {
        Operator { aws: self.clone() }
    }
}
