//! What a confined command can do, by the attempts of the zoo, a set of badly behaved programs. Each case is named
//! after the clause of docs/contract.md that it proves, and runs as root and as an ordinary user.

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
