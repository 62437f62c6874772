//! The private network of one owner's trees.

pub(crate) mod private;
