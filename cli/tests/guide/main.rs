//! The guide, `docs/guide`: its code is compiled or run, and its output is what the command prints.
//!
//! `cfg(test)` always holds here. It tells clippy that these modules, helpers included, are tests.

#[cfg(test)]
mod book;
#[cfg(test)]
mod console;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod picture;
#[cfg(test)]
mod shell;
