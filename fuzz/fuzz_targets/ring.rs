//! Ring operations (contract L4 to L6) against a model that keeps the whole stream.

#![no_main]

use arbitrary::Arbitrary;
use capsule_host::supervisor::Overflow;
use capsule_supervisor::fuzzing::Buffer;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    capacity: u16,
    backpressure: bool,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Write(u16),
    Acknowledge(u64),
    /// So far back from the end; most offsets at random are beyond it.
    AcknowledgeBack(u16),
    Drain(u8),
    Copy {
        back: u16,
        max: u16,
    },
}

#[derive(Default)]
struct Model {
    stream: Vec<u8>,
    /// Offset of the oldest byte that must be there.
    oldest: usize,
    acknowledged: usize,
    evicted: usize,
}

impl Model {
    fn write(&mut self, bytes: &[u8], capacity: usize, backpressure: bool) -> usize {
        let held = self.stream.len() - self.oldest;
        let may_go = if backpressure {
            self.acknowledged.saturating_sub(self.oldest).min(held)
        } else {
            held
        };
        let taken = bytes.len().min(capacity).min(capacity - held + may_go);
        let going = (held + taken).saturating_sub(capacity);
        self.oldest += going;
        if !backpressure {
            self.evicted += going;
        }
        self.stream.extend_from_slice(&bytes[..taken]);
        taken
    }
}

fuzz_target!(|input: Input| {
    let capacity = usize::from(input.capacity) % 2048 + 1;
    let overflow = if input.backpressure {
        Overflow::Backpressure
    } else {
        Overflow::DropOldest
    };
    let (mut ring, mut model) = (Buffer::new(capacity, overflow), Model::default());
    for op in input.ops.into_iter().take(256) {
        let end = model.stream.len();
        match op {
            Op::Write(count) => {
                let bytes: Vec<u8> = (0..=250)
                    .cycle()
                    .skip(end % 251)
                    .take(usize::from(count) % 4096)
                    .collect();
                let expected = model.write(&bytes, capacity, input.backpressure);
                assert_eq!(ring.write(&bytes), expected);
            }
            Op::Acknowledge(offset) => {
                ring.acknowledge(offset);
                let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(end);
                model.acknowledged = model.acknowledged.max(offset);
            }
            Op::AcknowledgeBack(back) => {
                let offset = end.saturating_sub(usize::from(back));
                ring.acknowledge(offset as u64);
                model.acknowledged = model.acknowledged.max(offset);
            }
            Op::Drain(keep) => {
                let upto = end - usize::from(keep).min(end - model.oldest);
                assert_eq!(ring.drain(usize::from(keep)), &model.stream[model.oldest..upto]);
                model.oldest = upto;
            }
            Op::Copy { back, max } => {
                let from = end.saturating_sub(usize::from(back)).max(model.oldest);
                let upto = end.min(from + usize::from(max));
                assert_eq!(ring.copy(from as u64, usize::from(max)), &model.stream[from..upto]);
            }
        }
        assert_eq!(
            ring.state(),
            (model.oldest as u64, model.stream.len() as u64, model.evicted as u64)
        );
        assert_eq!(
            ring.copy(model.oldest as u64, usize::MAX),
            &model.stream[model.oldest..]
        );
        assert!(model.stream.len() - model.oldest <= capacity);
    }
});
