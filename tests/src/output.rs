//! Reads the output of a child by cursor.

use capsule_host::supervisor::{LogChunk, LogStream, Scope};

use crate::wait::{breathe, until, watchdog};

/// One chunk of at most `max` bytes.
pub fn chunk(scope: &Scope, id: &str, stream: LogStream, cursor: Option<&str>, max: u32) -> LogChunk {
    scope
        .read_since(id, stream, cursor, max)
        .expect("a chunk of a process that is there")
}

/// The next chunk with bytes or the end; moves the cursor. The time limit is for one chunk only, because the time for a
/// whole stream depends on its length and on how busy the machine is.
pub async fn news<F: Future<Output = ()>>(
    scope: &Scope,
    id: &str,
    stream: LogStream,
    cursor: &mut Option<String>,
    max: u32,
    pause: impl Fn() -> F,
) -> LogChunk {
    watchdog(async {
        loop {
            let chunk = chunk(scope, id, stream, cursor.as_deref(), max);
            *cursor = Some(chunk.next.clone());
            if chunk.drained_eof || !chunk.data.is_empty() {
                break chunk;
            }
            pause().await;
        }
    })
    .await
}

/// All of a stream, read by cursor until its announced end, and the number of lost bytes by the cursor.
pub async fn follow(scope: &Scope, id: &str, stream: LogStream, max: u32) -> (Vec<u8>, u64) {
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let chunk = news(scope, id, stream, &mut cursor, max, breathe).await;
        all.extend_from_slice(&chunk.data);
        if chunk.drained_eof {
            return (all, chunk.bytes_dropped);
        }
    }
}

/// Waits until the child has printed `lines` whole lines on stdout, and returns them; drains nothing.
pub async fn lines(scope: &Scope, id: &str, lines: usize) -> Vec<String> {
    let mut found = Vec::new();
    until("the lines", || {
        let data = chunk(scope, id, LogStream::Stdout, None, u32::MAX).data;
        let text = String::from_utf8_lossy(&data);
        found = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| line.trim_end().to_owned())
            .collect();
        found.len() >= lines
    })
    .await;
    found
}

/// The pid that the child printed as its first line.
pub async fn printed_pid(scope: &Scope, id: &str) -> u32 {
    lines(scope, id, 1)
        .await
        .first()
        .and_then(|line| line.parse().ok())
        .expect("a pid")
}

/// `len` bytes that repeat late and contain every value: xorshift from a seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
