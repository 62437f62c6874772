//! What a confined command can do, by the attempts of a zoo of badly behaved children: each case named after the clause
//! of docs/contract.md that it proves, and each as root and as an ordinary user.

mod ceilings;
mod death;
mod end;
mod escapes;
mod etc;
mod groups;
mod harness;
mod init;
mod injection;
mod limits;
mod machine;
mod network;
mod ports;
mod prepared;
mod sharing;
mod software;
mod status;
mod syscalls;
mod terminals;
mod told;
mod users;
mod visible;
mod who;
mod workspaces;
