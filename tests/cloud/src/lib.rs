//! What the suites on a local AWS share: the functions' executables ([`functions`]), the deployed template ([`stack`]), HTTP
//! to its API ([`api`]) and to what the SDK's crates are not there for ([`signed`]).
//!
//! Invariant: whatever is started here ends with the value that started it, also when a test fails.

pub mod api;
pub mod functions;
pub mod signed;
pub mod stack;
