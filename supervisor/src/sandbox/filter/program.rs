//! Compiles the table and the rules to a seccomp program that is short and cheap to install.
//!
//! When a filter is installed, the kernel runs it for every system call number, to learn which calls are always allowed: those
//! never run the filter again. With a chain of all calls this took half a millisecond. So neighbouring calls with the same
//! answer are combined, and the program finds them by binary search. An unknown call gets ENOSYS, and a call of another
//! architecture ends the process.

use std::collections::BTreeMap;

use capsule_init::Instruction;

use super::rules::{Answer, Case, RULES, Setting, Test};
use super::table::{ALLOWED, Aarch64, Call, DENIED, Group};

/// The architecture whose call numbers a program tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64,
    Aarch64,
}

/// The conditions that a program is made for: a [`Setting`] each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) network: bool,
    /// Memory is limited, and counted process by process.
    pub(super) memory_is_sampled: bool,
    /// Files that the command makes in the workspace belong to another user on the disk.
    pub(super) workspace_is_mapped: bool,
}

/// The kernel's codes.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_ABOVE: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;

/// The offsets in the data that a filter receives.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The interface of x86-64 with short pointers has numbers of its own for every call, behind this bit.
const X32: u32 = 0x4000_0000;

impl Arch {
    /// Of this process.
    pub(super) const fn own() -> Option<Self> {
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
            Some(Self::X86_64)
        } else if cfg!(all(
            target_arch = "aarch64",
            target_endian = "little",
            target_pointer_width = "64"
        )) {
            Some(Self::Aarch64)
        } else {
            None
        }
    }

    /// As the kernel's audit names it.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    pub(super) const fn number(self, call: Call) -> Option<u32> {
        match (self, call.aarch64) {
            (Self::X86_64, _) => Some(call.x86_64),
            (Self::Aarch64, Aarch64::Number(number)) => Some(number),
            (Self::Aarch64, _) => None,
        }
    }
}

impl Settings {
    const fn hold(self, setting: Setting) -> bool {
        match setting {
            Setting::Always => true,
            Setting::Network => self.network,
            Setting::MemoryIsSampled => self.memory_is_sampled,
            Setting::WorkspaceIsMapped => self.workspace_is_mapped,
        }
    }
}

/// The result of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Answer(Answer),
    /// An index in [`RULES`].
    Rule(usize),
}

pub(super) fn compile(arch: Arch, settings: Settings) -> Vec<Instruction> {
    let mut code = Code {
        settings,
        reversed: Vec::new(),
        answers: BTreeMap::new(),
        rules: BTreeMap::new(),
    };
    let mut root = code.search(&runs(arch));
    if arch == Arch::X86_64 {
        let absent = code.answer(ABSENT);
        root = code.branch(IF_AT_LEAST, X32, absent, root);
    }
    // The number is loaded where the search begins.
    if root + 1 != code.reversed.len() {
        code.jump(root);
    }
    let own = code.push(LOAD, NUMBER);
    let other = code.push(RETURN, KILL);
    code.branch(IF_EQUAL, arch.audit(), own, other);
    code.push(LOAD, ARCH);
    code.reversed.reverse();
    code.reversed
}

const ABSENT: Answer = Answer::Errno(libc::ENOSYS);

/// Numbers that follow each other and lead to the same, by the first of them; the last run has no end.
fn runs(arch: Arch) -> Vec<(u32, Leaf)> {
    let mut known = BTreeMap::new();
    for call in calls(DENIED) {
        let leaf = Leaf::Answer(Answer::Errno(libc::EPERM));
        known.extend(arch.number(call).map(|number| (number, leaf)));
    }
    for call in calls(ALLOWED) {
        let rule = RULES.iter().position(|rule| rule.calls.contains(&call.name));
        let leaf = rule.map_or(Leaf::Answer(Answer::Allow), Leaf::Rule);
        known.extend(arch.number(call).map(|number| (number, leaf)));
    }
    let mut runs: Vec<(u32, Leaf)> = Vec::new();
    let mut next = 0;
    for (number, leaf) in known {
        let unknown = (number > next).then_some((next, Leaf::Answer(ABSENT)));
        for (first, leaf) in unknown.into_iter().chain([(number, leaf)]) {
            if runs.last().is_none_or(|(_, last)| *last != leaf) {
                runs.push((first, leaf));
            }
        }
        next = number.saturating_add(1);
    }
    runs.push((next, Leaf::Answer(ABSENT)));
    runs
}

pub(super) fn calls(groups: &'static [Group]) -> impl Iterator<Item = Call> {
    groups
        .iter()
        .flat_map(|group| group.families)
        .flat_map(|family| family.calls)
        .copied()
}

/// A program that is built from its end to its beginning. Jumps lead forward only, so their targets exist already when they are
/// made, and a target is used again as long as it is near enough. Positions are counted from the end.
struct Code {
    settings: Settings,
    reversed: Vec<Instruction>,
    /// Where each answer was put last.
    answers: BTreeMap<u32, usize>,
    /// Where the program of a rule is, for the calls that share it.
    rules: BTreeMap<usize, usize>,
}

/// How far a branch reaches, less room for jumps that may have to be inserted.
const REACH: usize = 250;

impl Code {
    fn push(&mut self, code: u16, k: u32) -> usize {
        self.reversed.push(Instruction { code, jt: 0, jf: 0, k });
        self.reversed.len() - 1
    }

    /// Over how many instructions the next one would have to jump.
    fn distance(&self, to: usize) -> usize {
        self.reversed.len() - to - 1
    }

    fn jump(&mut self, to: usize) -> usize {
        let distance = u32::try_from(self.distance(to)).unwrap_or(u32::MAX);
        self.push(JUMP, distance)
    }

    fn near(&mut self, to: usize) -> usize {
        if self.distance(to) > REACH { self.jump(to) } else { to }
    }

    fn branch(&mut self, code: u16, k: u32, so: usize, otherwise: usize) -> usize {
        let (so, otherwise) = (self.near(so), self.near(otherwise));
        let short = |distance: usize| u8::try_from(distance).unwrap_or(u8::MAX);
        let (jt, jf) = (short(self.distance(so)), short(self.distance(otherwise)));
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len() - 1
    }

    fn answer(&mut self, answer: Answer) -> usize {
        let value = match answer {
            Answer::Allow => ALLOW,
            Answer::Success => ERRNO,
            Answer::Errno(errno) => ERRNO | errno.unsigned_abs(),
        };
        match self.answers.get(&value) {
            Some(&there) if self.distance(there) <= REACH => there,
            _ => {
                let here = self.push(RETURN, value);
                self.answers.insert(value, here);
                here
            }
        }
    }

    /// Leads to the run whose first number is the highest that a call's is not below; that number is loaded.
    fn search(&mut self, runs: &[(u32, Leaf)]) -> usize {
        match runs {
            [] => self.answer(ABSENT),
            [(_, Leaf::Answer(answer))] => self.answer(*answer),
            [(_, Leaf::Rule(index))] => self.rule(*index),
            _ => {
                let (below, from) = runs.split_at(runs.len() / 2);
                let first = from.first().map_or(0, |(first, _)| *first);
                let from = self.search(from);
                let below = self.search(below);
                self.branch(IF_AT_LEAST, first, from, below)
            }
        }
    }

    fn rule(&mut self, index: usize) -> usize {
        if let Some(&there) = self.rules.get(&index) {
            return there;
        }
        let Some(rule) = RULES.get(index) else {
            return self.answer(ABSENT);
        };
        let mut next = self.answer(rule.otherwise);
        for case in rule.cases.iter().rev() {
            if self.settings.hold(case.setting) {
                next = self.case(case, next);
            }
        }
        self.rules.insert(index, next);
        next
    }

    /// Continues at `otherwise` if a test fails.
    fn case(&mut self, case: &Case, otherwise: usize) -> usize {
        let mut next = self.answer(case.then);
        for test in case.when.iter().rev() {
            next = self.test(*test, next, otherwise);
        }
        next
    }

    fn test(&mut self, test: Test, so: usize, otherwise: usize) -> usize {
        let argument = match test {
            Test::Is(argument, value) => {
                self.branch(IF_EQUAL, value, so, otherwise);
                argument
            }
            Test::Masked(argument, mask, value) => {
                self.branch(IF_EQUAL, value, so, otherwise);
                self.push(AND, mask);
                argument
            }
            Test::Any(argument, bits) => {
                self.branch(IF_ANY, bits, so, otherwise);
                argument
            }
            Test::UpTo(argument, most) => {
                self.branch(IF_ABOVE, most, otherwise, so);
                argument
            }
            Test::Over(argument, most) => {
                self.branch(IF_ABOVE, most, so, otherwise);
                return self.upper_first(argument, so);
            }
            Test::Given(argument) => {
                self.branch(IF_EQUAL, 0, otherwise, so);
                return self.upper_first(argument, so);
            }
        };
        self.push(LOAD, lower(argument))
    }

    /// The upper half of an argument has to be zero before the lower half is tested.
    fn upper_first(&mut self, argument: u8, so: usize) -> usize {
        let zero = self.push(LOAD, lower(argument));
        self.branch(IF_EQUAL, 0, zero, so);
        self.push(LOAD, lower(argument) + 4)
    }
}

/// Where the lower half of an argument is. Both architectures have it first.
fn lower(argument: u8) -> u32 {
    ARGUMENTS + u32::from(argument) * 8
}
