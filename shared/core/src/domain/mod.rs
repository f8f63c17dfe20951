//! What is true without I/O: the words of the trade and the rules of counting.

pub mod ad;
pub mod agent;
pub mod api_key;
pub mod bucket;
pub mod claim_life;
pub mod correction;
pub mod counter;
pub mod country;
pub mod device;
pub(crate) mod digits;
pub mod entity;
pub mod heartbeat;
pub mod ids;
pub mod kinesis_event;
pub mod lane;
pub mod manifest;
pub mod mutation;
pub mod partition;
pub mod privacy;
pub mod record;
pub mod ruling;
pub mod sealed;
pub mod sequence;
pub mod time;
pub mod token;
pub mod verdict;
