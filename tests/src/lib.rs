//! What the tests share with the hosts that they start.

#[cfg(target_os = "linux")]
pub mod machine;
