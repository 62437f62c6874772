//! The output of a process.

#[path = "../../../supervisor/src/log/output.rs"]
pub(crate) mod output;
#[path = "../../../supervisor/src/log/reader.rs"]
pub(crate) mod reader;
#[path = "../../../supervisor/src/log/ring.rs"]
pub(crate) mod ring;

pub(crate) mod cursor {
    //! The position of a reader. The sealed token is omitted, because it does not affect the order of tasks.

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Position {
        pub(crate) offset: u64,
        pub(crate) dropped: u64,
    }
}
