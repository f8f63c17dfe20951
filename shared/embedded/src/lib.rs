//! The ports on one SQLite file and an hour-partitioned folder of raw clicks.
