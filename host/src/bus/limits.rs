//! Every default and ceiling of messaging, in one place (contract Q4).

use std::time::Duration;

/// What guests may publish and hold. All of it is the embedder's to set:
///
/// ```
/// use capsule_host::bus::BusLimits;
///
/// let limits = BusLimits { subscriptions_per_principal: 16, ..BusLimits::default() };
/// assert_eq!(limits.queue_messages, 1024);
/// ```
///
/// Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct BusLimits {
    /// Longest payload that a guest publishes (`invalid-input` beyond it). 128 KiB.
    pub payload_max: usize,
    /// Messages that a capsule publishes in a second for one principal, in the long run (`rate-limited` beyond it). Zero
    /// forbids publishing. 256.
    pub publish_per_second: u32,
    /// How many of them may come at once. 512.
    pub publish_burst: u32,
    /// How many times over a message may cause a message: one that is published by an interceptor's instance is one deeper
    /// than the message that started it (`unknown("too-deep: …")` beyond it). 8.
    pub depth_max: u8,
    /// Subscriptions of one principal at once, over all capsules and instances (`quota` beyond it). 128.
    pub subscriptions_per_principal: usize,
    /// Messages that wait in one subscription or for one interceptor; what does not fit is counted. Where they are of
    /// several principals, each has an equal share, and what one leaves free the others use. 1024.
    pub queue_messages: usize,
    /// What they take together. The messages themselves are shared by all queues that hold them. 512 KiB, so 64 MiB a
    /// principal at most.
    pub queue_bytes: usize,
    /// Longest `recv`; a longer one is treated as this. 60 seconds.
    pub recv_max: Duration,
}

impl Default for BusLimits {
    fn default() -> Self {
        Self {
            payload_max: 128 * 1024,
            publish_per_second: 256,
            publish_burst: 512,
            depth_max: 8,
            subscriptions_per_principal: 128,
            queue_messages: 1024,
            queue_bytes: 512 * 1024,
            recv_max: Duration::from_secs(60),
        }
    }
}
