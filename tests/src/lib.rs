//! What the tests share with the hosts that they start.

pub mod machine;
