//! From the table and the rules to a program of the kernel's: short, and cheap to install.
//!
//! When a filter is installed the kernel follows it for every call that there is, to learn which are allowed whatever their
//! arguments: those never run it again. A chain of all calls took half a millisecond there. So calls that are neighbours
//! and have one answer are one, and a search by the number finds them. What is not known is not implemented, and a call of
//! another architecture ends the process.

use std::collections::BTreeMap;

use capsule_init::Instruction;

use super::rules::{Answer, Case, RULES, Rule, Setting, Test};
use super::table::{ALLOWED, Aarch64, Call, DENIED, Group};

/// Whose numbers a program is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64,
    Aarch64,
}

/// For whom a program is: a [`Setting`] each.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "three facts that have nothing to do with each other"
)]
pub(super) struct Settings {
    pub(super) network: bool,
    /// Memory is limited, and counted process by process.
    pub(super) memory_is_sampled: bool,
    /// What the command makes in the workspace is another user's on the disk.
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

/// Where things are in what a filter is given.
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

pub(super) fn compile(arch: Arch, settings: Settings) -> Vec<Instruction> {
    let mut program = vec![
        step(LOAD, 0, 0, ARCH),
        step(IF_EQUAL, 1, 0, arch.audit()),
        step(RETURN, 0, 0, KILL),
        step(LOAD, 0, 0, NUMBER),
    ];
    if arch == Arch::X86_64 {
        program.push(step(IF_AT_LEAST, 0, 1, X32));
        program.push(answer(Answer::Errno(libc::ENOSYS)));
    }
    program.extend(search(&runs(arch, settings)));
    program
}

/// Numbers that follow each other and have one program, by the first of them; the last run has no end.
fn runs(arch: Arch, settings: Settings) -> Vec<(u32, Vec<Instruction>)> {
    let absent = vec![answer(Answer::Errno(libc::ENOSYS))];
    let mut known = BTreeMap::new();
    for call in calls(DENIED) {
        known.extend(
            arch.number(call)
                .map(|number| (number, vec![answer(Answer::Errno(libc::EPERM))])),
        );
    }
    for call in calls(ALLOWED) {
        known.extend(arch.number(call).map(|number| (number, allowed(call.name, settings))));
    }
    let mut runs: Vec<(u32, Vec<Instruction>)> = Vec::new();
    let mut next = 0;
    for (number, program) in known {
        let unknown = (number > next).then(|| (next, absent.clone()));
        for (first, program) in unknown.into_iter().chain([(number, program)]) {
            if runs.last().is_none_or(|(_, last)| *last != program) {
                runs.push((first, program));
            }
        }
        next = number.saturating_add(1);
    }
    runs.push((next, absent));
    runs
}

pub(super) fn calls(groups: &'static [Group]) -> impl Iterator<Item = Call> {
    groups
        .iter()
        .flat_map(|group| group.families)
        .flat_map(|family| family.calls)
        .copied()
}

fn allowed(name: &str, settings: Settings) -> Vec<Instruction> {
    match RULES.iter().find(|rule| rule.calls.contains(&name)) {
        Some(rule) => by_arguments(rule, settings),
        None => vec![answer(Answer::Allow)],
    }
}

fn by_arguments(rule: &Rule, settings: Settings) -> Vec<Instruction> {
    let cases = rule.cases.iter().filter(|case| settings.hold(case.setting));
    let mut program: Vec<_> = cases.flat_map(one_case).collect();
    program.push(answer(rule.otherwise));
    program
}

/// Where a jump of a test leads.
#[derive(Clone, Copy)]
enum To {
    Next,
    /// Over that many.
    Over(u8),
    /// Behind the whole case, because it does not hold.
    Out,
}

fn one_case(case: &Case) -> Vec<Instruction> {
    let mut steps = Vec::new();
    for test in case.when {
        match *test {
            Test::Is(argument, value) => {
                steps.push(load(argument, false));
                steps.push((IF_EQUAL, To::Next, To::Out, value));
            }
            Test::Masked(argument, mask, value) => {
                steps.push(load(argument, false));
                steps.push((AND, To::Next, To::Next, mask));
                steps.push((IF_EQUAL, To::Next, To::Out, value));
            }
            Test::Any(argument, bits) => {
                steps.push(load(argument, false));
                steps.push((IF_ANY, To::Next, To::Out, bits));
            }
            Test::UpTo(argument, most) => {
                steps.push(load(argument, false));
                steps.push((IF_ABOVE, To::Out, To::Next, most));
            }
            Test::Over(argument, most) => {
                steps.push(load(argument, true));
                steps.push((IF_EQUAL, To::Next, To::Over(2), 0));
                steps.push(load(argument, false));
                steps.push((IF_ABOVE, To::Next, To::Out, most));
            }
            Test::Given(argument) => {
                steps.push(load(argument, true));
                steps.push((IF_EQUAL, To::Next, To::Over(2), 0));
                steps.push(load(argument, false));
                steps.push((IF_EQUAL, To::Out, To::Next, 0));
            }
        }
    }
    let length = steps.len();
    let mut program: Vec<_> = steps
        .into_iter()
        .enumerate()
        .map(|(at, (code, so, otherwise, k))| {
            let distance = |to| match to {
                To::Next => 0,
                To::Over(steps) => steps,
                // What is left of the tests, and the answer.
                To::Out => u8::try_from(length - at).unwrap_or(u8::MAX),
            };
            step(code, distance(so), distance(otherwise), k)
        })
        .collect();
    program.push(answer(case.then));
    program
}

/// Half of an argument. Both architectures have the lower half first.
fn load(argument: u8, upper: bool) -> (u16, To, To, u32) {
    let at = ARGUMENTS + u32::from(argument) * 8 + if upper { 4 } else { 0 };
    (LOAD, To::Next, To::Next, at)
}

/// The program whose first number is the highest that a call's is not below; that number is loaded.
fn search(runs: &[(u32, Vec<Instruction>)]) -> Vec<Instruction> {
    let (first, below, from) = match runs {
        [] => return Vec::new(),
        [(_, program)] => return program.clone(),
        _ => {
            let (below, from) = runs.split_at(runs.len() / 2);
            (from.first().map_or(0, |(first, _)| *first), search(below), search(from))
        }
    };
    let mut both = match u8::try_from(below.len()) {
        Ok(near) => vec![step(IF_AT_LEAST, near, 0, first)],
        Err(_) => vec![
            step(IF_AT_LEAST, 0, 1, first),
            step(JUMP, 0, 0, u32::try_from(below.len()).unwrap_or(u32::MAX)),
        ],
    };
    both.extend(below);
    both.extend(from);
    both
}

const fn answer(answer: Answer) -> Instruction {
    let value = match answer {
        Answer::Allow => ALLOW,
        Answer::Success => ERRNO,
        Answer::Errno(errno) => ERRNO | errno.unsigned_abs(),
    };
    step(RETURN, 0, 0, value)
}

const fn step(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}
