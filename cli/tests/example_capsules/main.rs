//! The example capsules, as their READMEs say: the real command, real processes, and the output that the README shows.
//!
//! `cfg(test)` always holds here. It tells clippy that these modules, helpers included, are tests.

#[cfg(test)]
mod build_watch;
#[cfg(test)]
mod dev_server;
#[cfg(test)]
mod file_secrets;
#[cfg(test)]
mod log_alert;
#[cfg(test)]
mod mcp_gateway;
#[cfg(test)]
mod pipeline;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod python_repl;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod test_runner;
