//! What a process prints.

#[path = "../../../../host/src/supervisor/log/output.rs"]
pub(crate) mod output;
#[path = "../../../../host/src/supervisor/log/reader.rs"]
pub(crate) mod reader;
#[path = "../../../../host/src/supervisor/log/ring.rs"]
pub(crate) mod ring;

pub(crate) mod cursor {
    //! Where a reader is; sealing that in a token takes no turns with anything.

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Position {
        pub(crate) offset: u64,
        pub(crate) dropped: u64,
    }
}
