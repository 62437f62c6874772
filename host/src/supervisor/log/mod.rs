//! What a process prints: kept, numbered and handed out.

pub(crate) mod cursor;
pub(crate) mod output;
pub(crate) mod reader;
pub(crate) mod ring;
