//! The newest bytes of a stream, addressed by their absolute offset in it.
//!
//! This is plain data, without a pipe, a lock or a clock. Bytes are read straight into its free space ([`Ring::spare`], then
//! [`Ring::commit`]). A reader that fell behind gets the oldest retained offset, and never bytes of another offset.
//! The ring allocates memory as output arrives, in doubling steps, and frees all of it when it is drained. The memory begins on a
//! cache line: the kernel copies a pipe's pages with one string instruction, which takes three times as long (AMD Zen) if the
//! target is not aligned to a cache line, and an allocator does not align large blocks.

/// The policy for a full ring (contract L5, L6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest bytes are evicted: the newest are always there and the child never waits.
    #[default]
    DropOldest,
    /// The child waits: no byte is evicted before a reader has drained or acknowledged it.
    Backpressure,
}

/// The size of the first allocation, because most commands print less.
const FIRST_ALLOCATION: usize = 4096;

/// Memory beyond the capacity of a ring. So many bytes can be read before their number is known, and still no byte is evicted that
/// could have stayed.
pub(crate) const SLACK: usize = 8 * 1024;
/// Smaller rings have no slack, because it would be too large a part of them.
const SMALL: usize = 16 * SLACK;

#[derive(Debug)]
pub(crate) struct Ring {
    storage: Storage,
    /// The index in `storage` of the oldest byte.
    head: usize,
    len: usize,
    /// The absolute offset of the oldest byte.
    start: u64,
    capacity: usize,
    /// The size of the memory beyond the capacity, when the ring has its full size.
    slack: usize,
    overflow: Overflow,
    /// A reader has presented a cursor at this offset, so everything before it was read.
    acknowledged: u64,
    evicted: u64,
}

impl Ring {
    pub(crate) fn new(capacity: usize, overflow: Overflow) -> Self {
        Self {
            storage: Storage::default(),
            head: 0,
            len: 0,
            start: 0,
            capacity,
            slack: if capacity < SMALL { 0 } else { SLACK },
            overflow,
            acknowledged: 0,
            evicted: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The offset of the oldest byte that is retained.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The offset of the next byte to come.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    /// The bytes that were evicted without any reader's consent (`process-info.bytes-dropped`).
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Records that a reader has everything before `offset`.
    pub(crate) fn acknowledge(&mut self, offset: u64) {
        self.acknowledged = self.acknowledged.max(offset.min(self.end()));
    }

    /// Makes room for up to `wanted` bytes and returns how many fit. Evicts only bytes that the policy allows, and no more than
    /// needed.
    pub(crate) fn make_room(&mut self, wanted: usize) -> usize {
        let wanted = wanted.min(self.capacity);
        let missing = wanted.saturating_sub(self.capacity - self.len);
        self.give_up(missing.min(self.may_go()));
        let room = wanted.min(self.capacity - self.len);
        self.allocate(room);
        room
    }

    /// Whether [`Self::make_room`] would grant a byte.
    pub(crate) fn has_room(&self) -> bool {
        self.len < self.capacity
            || match self.overflow {
                Overflow::DropOldest => true,
                Overflow::Backpressure => self.acknowledged > self.start,
            }
    }

    /// How many bytes can be read before their number is known: at most the slack, and none unless the ring has its full size.
    pub(crate) fn speculative_room(&self) -> usize {
        if self.storage.len() <= self.capacity {
            return 0;
        }
        self.slack.min(self.capacity - self.len + self.may_go())
    }

    /// Free space for `room` bytes, as [`Self::make_room`] granted it or [`Self::speculative_room`] said, in two slices because the ring
    /// may wrap round.
    pub(crate) fn spare(&mut self, room: usize) -> (&mut [u8], &mut [u8]) {
        let size = self.storage.len();
        let room = room.min(size - self.len);
        let (before_tail, from_tail);
        let tail = self.head + self.len;
        let storage = self.storage.bytes_mut();
        if tail >= size {
            // The content wraps round; the free space is one piece between its end and its head.
            let tail = tail - size;
            (before_tail, from_tail) = (&mut [][..], storage.get_mut(tail..tail + room));
        } else {
            let (front, back) = storage.split_at_mut(tail);
            let first = room.min(back.len());
            (before_tail, from_tail) = (front.get_mut(..room - first).unwrap_or_default(), back.get_mut(..first));
        }
        (from_tail.unwrap_or_default(), before_tail)
    }

    /// Takes in the first `count` bytes of the spare space. If that is more than was free, the oldest bytes are evicted.
    pub(crate) fn commit(&mut self, count: usize) {
        debug_assert!(
            self.len + count <= self.storage.len(),
            "more was read than there was room for"
        );
        self.len += count;
        self.give_up(self.len.saturating_sub(self.capacity));
    }

    /// Appends at most `max` bytes from `offset` on to `into`, and returns how many. `offset` must be retained.
    pub(crate) fn copy(&self, offset: u64, max: usize, into: &mut Vec<u8>) -> usize {
        let Ok(skip) = usize::try_from(offset.saturating_sub(self.start)) else {
            return 0;
        };
        let count = max.min(self.len.saturating_sub(skip));
        let (first, second) = self.content();
        let from_first = count.min(first.len().saturating_sub(skip));
        into.extend_from_slice(first.get(skip..skip + from_first).unwrap_or_default());
        let skip = skip.saturating_sub(first.len());
        into.extend_from_slice(second.get(skip..skip + (count - from_first)).unwrap_or_default());
        count
    }

    /// The last bytes, at most `N`, in order at the end of the returned array, and their number.
    pub(crate) fn tail<const N: usize>(&self) -> ([u8; N], usize) {
        let mut tail = [0; N];
        let (first, second) = self.content();
        let newest = second.iter().rev().chain(first.iter().rev());
        for (into, byte) in tail.iter_mut().rev().zip(newest) {
            *into = *byte;
        }
        (tail, N.min(self.len))
    }

    /// Returns and removes all but the last `keep` bytes. Only the kept bytes are copied; the buffer itself is moved
    /// out.
    pub(crate) fn drain(&mut self, keep: usize) -> Drained {
        let keep = keep.min(self.len);
        let count = self.len - keep;
        let mut kept = Storage::default();
        if keep > 0 {
            let mut tail = Vec::with_capacity(keep);
            self.copy(self.start + count as u64, keep, &mut tail);
            kept = Storage::new(keep);
            kept.bytes_mut().copy_from_slice(&tail);
        }
        let drained = Drained {
            storage: std::mem::replace(&mut self.storage, kept),
            head: self.head,
            len: count,
        };
        self.start += count as u64;
        self.head = 0;
        self.len = keep;
        drained
    }

    fn content(&self) -> (&[u8], &[u8]) {
        content(self.storage.bytes(), self.head, self.len)
    }

    /// How many of the oldest bytes the policy allows to evict.
    fn may_go(&self) -> usize {
        match self.overflow {
            Overflow::DropOldest => self.len,
            Overflow::Backpressure => usize::try_from(self.acknowledged.saturating_sub(self.start))
                .unwrap_or(usize::MAX)
                .min(self.len),
        }
    }

    fn give_up(&mut self, count: usize) {
        self.discard(count);
        if self.overflow == Overflow::DropOldest {
            self.evicted += count as u64;
        }
    }

    fn discard(&mut self, count: usize) {
        self.start += count as u64;
        self.len -= count;
        self.head += count;
        if self.len == 0 {
            self.head = 0;
        } else if self.head >= self.storage.len() {
            self.head -= self.storage.len();
        }
    }

    /// Grows the storage until `room` more bytes fit.
    fn allocate(&mut self, room: usize) {
        let needed = self.len + room;
        if needed <= self.storage.len() {
            return;
        }
        let mut size = needed.next_power_of_two().max(FIRST_ALLOCATION);
        if size >= self.capacity {
            size = self.capacity + self.slack;
        }
        let mut storage = Storage::new(size);
        let (first, second) = self.content();
        let (front, rest) = storage.bytes_mut().split_at_mut(first.len());
        front.copy_from_slice(first);
        rest.split_at_mut(second.len()).0.copy_from_slice(second);
        self.storage = storage;
        self.head = 0;
    }
}

/// Memory that begins on a cache line.
#[derive(Debug, Default)]
struct Storage {
    memory: Vec<u8>,
    /// The index at which the cache line begins.
    begin: usize,
}

impl Storage {
    const LINE: usize = 64;

    fn new(size: usize) -> Self {
        // Zeroed memory from the allocator is not touched before it is written.
        let mut memory = vec![0; size + Self::LINE - 1];
        // If the alignment is unknown, the memory begins at its own start.
        let begin = memory.as_ptr().align_offset(Self::LINE).min(Self::LINE - 1);
        memory.truncate(begin + size);
        Self { memory, begin }
    }

    fn len(&self) -> usize {
        self.memory.len() - self.begin
    }

    fn bytes(&self) -> &[u8] {
        self.memory.get(self.begin..).unwrap_or_default()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.begin..).unwrap_or_default()
    }
}

/// Bytes that were removed from a ring, still in the ring's layout, so that putting them in order needs no lock.
#[derive(Debug)]
pub(crate) struct Drained {
    storage: Storage,
    head: usize,
    len: usize,
}

impl Drained {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let wraps = self.head + self.len > self.storage.len();
        let Storage { mut memory, begin } = self.storage;
        if wraps {
            memory.get_mut(begin..).unwrap_or_default().rotate_left(self.head);
            memory.drain(..begin);
        } else {
            memory.drain(..begin + self.head);
        }
        memory.truncate(self.len);
        memory
    }
}

fn content(storage: &[u8], head: usize, len: usize) -> (&[u8], &[u8]) {
    let (before, from) = storage.split_at(head.min(storage.len()));
    let first = len.min(from.len());
    (
        from.get(..first).unwrap_or_default(),
        before.get(..len - first).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes as the reader does: first makes room, then writes into it. Returns the number of bytes that were taken.
    fn write(ring: &mut Ring, mut bytes: &[u8]) -> usize {
        let mut written = 0;
        while !bytes.is_empty() {
            let room = ring.make_room(bytes.len());
            if room == 0 {
                break;
            }
            let (first, second) = ring.spare(room);
            assert_eq!(first.len() + second.len(), room);
            let split = first.len();
            first.copy_from_slice(&bytes[..split]);
            second.copy_from_slice(&bytes[split..room]);
            ring.commit(room);
            bytes = &bytes[room..];
            written += room;
        }
        written
    }

    fn read(ring: &Ring, offset: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        ring.copy(offset, usize::MAX, &mut bytes);
        bytes
    }

    #[test]
    fn l5_a_ring_takes_memory_only_as_output_arrives() {
        let mut ring = Ring::new(1 << 20, Overflow::DropOldest);
        assert_eq!(ring.storage.memory.capacity(), 0);
        write(&mut ring, b"hello");
        assert_eq!(ring.storage.len(), FIRST_ALLOCATION);
        write(&mut ring, &[0; 1 << 20]);
        assert_eq!(ring.storage.len(), (1 << 20) + SLACK);
        ring.drain(0);
        assert_eq!(ring.storage.memory.capacity(), 0);
    }

    #[test]
    fn the_memory_of_a_ring_begins_on_a_cache_line() {
        for size in [1, 100, FIRST_ALLOCATION, 1 << 20] {
            let storage = Storage::new(size);
            assert_eq!(storage.len(), size);
            assert_eq!(storage.bytes().as_ptr().align_offset(Storage::LINE), 0);
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Write(usize),
        /// Writes like a reader that has not asked for the number of bytes.
        Sip(usize),
        Acknowledge(usize),
        Drain(usize),
        Copy(usize, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0..300usize).prop_map(Op::Write),
            4 => (1..30usize).prop_map(Op::Sip),
            2 => (0..2000usize).prop_map(Op::Acknowledge),
            1 => (0..4usize).prop_map(Op::Drain),
            2 => (0..400usize, 0..200usize).prop_map(|(back, max)| Op::Copy(back, max)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// The model keeps the whole stream and the offset of the oldest byte that must still be there.
        #[test]
        fn l4_l5_l6_a_ring_is_the_tail_of_its_stream(
            capacity in 1..200usize, slack in 0..20usize, overflow in prop_oneof![Just(Overflow::DropOldest), Just(Overflow::Backpressure)],
            ops in proptest::collection::vec(op(), 1..40),
        ) {
            let mut ring = Ring { slack, ..Ring::new(capacity, overflow) };
            let (mut stream, mut oldest, mut acknowledged, mut evicted) = (Vec::<u8>::new(), 0usize, 0usize, 0usize);
            for op in ops {
                match op {
                    Op::Write(count) => {
                        let bytes: Vec<u8> = (0..=250).cycle().skip(stream.len() % 251).take(count).collect();
                        let has_room = ring.has_room();
                        let written = write(&mut ring, &bytes);
                        prop_assert!(count == 0 || has_room == (written > 0));
                        stream.extend_from_slice(&bytes[..written]);
                        let must_go = (stream.len() - oldest).saturating_sub(capacity);
                        match overflow {
                            Overflow::DropOldest => { prop_assert_eq!(written, count); evicted += must_go; }
                            Overflow::Backpressure => {
                                // No unacknowledged byte was evicted, and writing stopped only when no more bytes could be evicted.
                                prop_assert!(must_go == 0 || oldest + must_go <= acknowledged);
                                if written < count {
                                    let unacknowledged = stream.len() - acknowledged.max(oldest + must_go).min(stream.len());
                                    prop_assert!(unacknowledged >= capacity || stream.len() - oldest - must_go == capacity);
                                }
                            }
                        }
                        oldest += must_go;
                    }
                    Op::Sip(waiting) => {
                        let has_room = ring.has_room();
                        let most = ring.speculative_room();
                        prop_assert!(most <= slack && (most == 0 || has_room));
                        if most > 0 {
                            let bytes = vec![7; waiting.min(most)];
                            let (first, second) = ring.spare(most);
                            prop_assert_eq!(first.len() + second.len(), most);
                            let split = first.len().min(bytes.len());
                            first[..split].copy_from_slice(&bytes[..split]);
                            second[..bytes.len() - split].copy_from_slice(&bytes[split..]);
                            ring.commit(bytes.len());
                            stream.extend_from_slice(&bytes);
                            let must_go = (stream.len() - oldest).saturating_sub(capacity);
                            match overflow {
                                Overflow::DropOldest => evicted += must_go,
                                Overflow::Backpressure => prop_assert!(must_go == 0 || oldest + must_go <= acknowledged),
                            }
                            oldest += must_go;
                        }
                    }
                    Op::Acknowledge(offset) => {
                        ring.acknowledge(offset as u64);
                        acknowledged = acknowledged.max(offset.min(stream.len()));
                    }
                    Op::Drain(keep) => {
                        let drained = ring.drain(keep);
                        let upto = stream.len() - keep.min(stream.len() - oldest);
                        prop_assert_eq!(drained.into_bytes(), &stream[oldest..upto]);
                        oldest = upto;
                    }
                    Op::Copy(back, max) => {
                        let from = stream.len().saturating_sub(back).max(oldest);
                        let mut bytes = Vec::new();
                        ring.copy(from as u64, max, &mut bytes);
                        prop_assert_eq!(&bytes[..], &stream[from..stream.len().min(from + max)]);
                    }
                }
                prop_assert_eq!(ring.start(), oldest as u64);
                prop_assert_eq!(ring.end(), stream.len() as u64);
                prop_assert_eq!(ring.evicted(), evicted as u64);
                prop_assert_eq!(read(&ring, ring.start()), &stream[oldest..]);
                let (tail, count) = ring.tail::<4>();
                prop_assert_eq!(&tail[4 - count..], &stream[oldest.max(stream.len().saturating_sub(4))..]);
                prop_assert!(ring.storage.len() <= capacity + slack);
            }
        }
    }
}
