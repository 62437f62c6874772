//! The `capsule` command from the outside: the real binary, real capsules, real processes.
//!
//! `cfg(test)` always holds here. It tells clippy that these modules, helpers included, are tests.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod build;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod confinement;
#[cfg(test)]
mod denials;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod languages;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod manifest;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod network;
#[cfg(test)]
mod new;
#[cfg(test)]
mod support;
#[cfg(test)]
mod trials;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod workspaces;
