//! Every default and ceiling of messaging, in one place (contract Q4).

use std::time::Duration;

/// The limits of what guests publish and subscribe to. The embedder can set each of them:
///
/// ```
/// use capsule_host::bus::BusLimits;
///
/// let limits = BusLimits { subscriptions_per_principal: 16, ..BusLimits::default() };
/// assert_eq!(limits.queue_messages, 1024);
/// ```
///
/// Sizes are in bytes. Each description ends with the default.
#[derive(Clone, Debug)]
pub struct BusLimits {
    /// The longest payload that a guest may publish (`invalid-input` beyond it). 128 KiB.
    pub payload_max: usize,
    /// The messages that a capsule may publish in a second for one principal, in the long run (`rate-limited` beyond
    /// it). Zero forbids publishing. 256.
    pub publish_per_second: u32,
    /// The most of these messages that may arrive at once. 512.
    pub publish_burst: u32,
    /// The longest chain of messages that cause each other: a message that an interceptor's instance publishes is one
    /// deeper than the message that started the instance (`unknown("too-deep: …")` beyond it). 8.
    pub depth_max: u8,
    /// The subscriptions that one principal may have at once, over all capsules and instances (`quota` beyond it). 128.
    pub subscriptions_per_principal: usize,
    /// The messages that may wait in one subscription or for one interceptor. Messages that do not fit are counted. If
    /// the messages are of several principals, each principal has an equal share, and may use what others leave free.
    /// 1024.
    pub queue_messages: usize,
    /// The bytes that these messages may have together. A message is shared by all queues that hold it. 512 KiB, so at
    /// most 64 MiB for a principal.
    pub queue_bytes: usize,
    /// The longest `recv`; a longer one is treated as this. 60 seconds.
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
