//! What a process prints.

#[path = "../../../supervisor/src/log/output.rs"]
pub(crate) mod output;
#[path = "../../../supervisor/src/log/reader.rs"]
pub(crate) mod reader;
#[path = "../../../supervisor/src/log/ring.rs"]
pub(crate) mod ring;

pub(crate) mod cursor {
    //! Where a reader is; sealing that in a token takes no turns with anything.

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Position {
        pub(crate) offset: u64,
        pub(crate) dropped: u64,
    }
}
