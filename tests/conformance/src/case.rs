//! The cases, as the build script found and compiled them.

use std::sync::LazyLock;

use serde::Serialize;

/// What a case rests on: where its behaviour is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The WIT as published, in the crate `astrid-sys`, says what the case checks. Every host of `astrid:process` has to do
    /// it. Where the WIT says that a host may not do it yet, the case holds the host to what it is to do.
    Interface,
    /// Only this project's contract (`docs/contract.md` of the repository) says so. Another host of the interface may do
    /// otherwise, and is no worse for that.
    Contract,
    /// It is about Linux or about a layer of the confinement, which `Layer` names: what a process may see, reach and keep.
    Platform,
}

/// One behaviour of the contract, and the component that tests it.
#[derive(Clone, Copy)]
pub struct Case {
    /// `<clause>_<behaviour>`.
    pub name: &'static str,
    /// The behaviour, in a sentence.
    pub title: &'static str,
    /// What the case rests on.
    pub level: Level,
    /// For [`Level::Interface`] the words of the published WIT, as `process@1.1.0: "…"`, and several such quotations with
    /// `; ` between them. Otherwise empty.
    pub basis: &'static str,
    start: usize,
    end: usize,
}

/// The components of all cases, one after the other. They are compressed in the program. From the first use on, they
/// are in memory uncompressed: 14 MB.
static COMPONENTS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let archive = include_bytes!(concat!(env!("OUT_DIR"), "/components.zst"));
    let len = include!(concat!(env!("OUT_DIR"), "/components.len"));
    zstd::bulk::decompress(archive, len).expect("the build script compressed it")
});

impl Case {
    /// The component.
    ///
    /// # Panics
    /// If the program's own copy of it is damaged.
    #[must_use]
    pub fn component(&self) -> &'static [u8] {
        COMPONENTS
            .get(self.start..self.end)
            .expect("the build script wrote both")
    }

    /// The clause of the contract that the case proves: `S1` for `s1_bad_env_keys`.
    #[must_use]
    pub fn clause(&self) -> String {
        self.name
            .split_once('_')
            .map_or(self.name, |(clause, _)| clause)
            .to_ascii_uppercase()
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every case, by name.
pub static CASES: &[Case] = include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// Every clause of the contract (`docs/contract.md` of the repository), in its order. A clause without a case is not
/// done, unless [`WITHOUT_CASE`] says where it is proved.
pub const CLAUSES: &[&str] = &[
    "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "I1", "I2", "I3", "I4", "I5", "L1", "L2", "L3", "L4",
    "L5", "L6", "L7", "L8", "N1", "N2", "N3", "N4", "X1", "X2", "X3", "X4", "X5", "X6", "X7", "K1", "K2", "K3", "K4",
    "T1", "T2", "T3", "T4", "Q1", "Q2", "Q3", "Q4", "Q5", "A1", "A2", "A3", "A4", "E1", "E2", "E3", "E4", "R1", "R2",
    "R3", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "J1", "U1", "U2", "U3", "W1", "W2", "W3", "W4",
    "W5", "V1", "V2", "V3", "V4", "M1", "M2", "M3", "M4",
];

/// The clauses without a case, and the reason: a component cannot see enough of a host through the interface, or the
/// clause is not kept yet.
pub const WITHOUT_CASE: &[(&str, &str)] = &[
    (
        "Q5",
        "needs a second principal that takes all: tests of the host's runtime",
    ),
    ("R3", "needs to know the host's defaults: the containment tests"),
    (
        "B5",
        "needs a host that is killed and an init that is stopped: the containment tests",
    ),
    (
        "B6",
        "needs folders of the host's: the containment tests and those of the command",
    ),
    (
        "B7",
        "needs a program that makes any system call: the containment tests",
    ),
    ("B8", "needs another user of the machine: the containment tests"),
    ("B9", "needs sockets of the host's: the containment tests"),
    ("B10", "needs two trees that share a folder: the containment tests"),
    ("U3", "needs a reader that does not read: the tests of the command"),
    (
        "W1",
        "needs the namespaces of two owners: the containment tests, and those of the command",
    ),
    (
        "W2",
        "needs a client on the host: the containment tests, and those of the command",
    ),
    ("W3", "needs a server outside of the tree: the containment tests"),
    (
        "W4",
        "needs the host's audit, and rules that change: the containment tests, and those of the command",
    ),
    ("W5", "needs to know the host's limits: the containment tests"),
    (
        "V1",
        "the package is this project's own, and optional: the tests of the capsules",
    ),
    ("V2", "needs a host that is killed: the tests of the store"),
    ("V3", "needs two hosts: the tests of the store"),
    ("V4", "needs to know the host's limits: the tests of the capsules"),
    (
        "M1",
        "the package is this project's own, and optional: the tests of the capsules",
    ),
    ("M2", "needs an instance that traps: the tests of the capsules"),
    ("M3", "needs to know the host's limits: the tests of the capsules"),
    ("M4", "is the SDK's: the tests of the capsules"),
];
