//! What a manifest asks for and the user did not grant: the list of it, and `--grant-all-asked`.
//!
//! A manifest comes with the capsule, whose author the user need not trust. So it grants nothing: the command shows the options
//! that would, and makes the calls without them. `--grant-all-asked` adds what is asked and nothing more. This leaves out what gives
//! away more than the capsule's own processes: this machine's network, and commits in the workspace. Those need their own options.

use capsule_host::sandbox::{Visible, Workspace};

use crate::args::HostArgs;
use crate::console;
use crate::manifest::Manifest;
use crate::option_text::{option, word};
use crate::written::Written;
use crate::{network, visible};

/// The most options in the list.
const LISTED: usize = 16;
/// The most requests for folders that are looked at.
const FOLDERS: usize = 64;

/// What is asked for and not granted.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    allow: Vec<String>,
    allow_persistent: bool,
    visible: Vec<Written<Visible>>,
    network: network::Granting,
    commits: bool,
    /// What cannot be granted, and why.
    impossible: Vec<String>,
}

impl Asks {
    /// Compares the manifest with what is granted.
    pub(crate) fn of(manifest: &Manifest, args: &HostArgs, workspace: &Workspace) -> Self {
        let mut asks = Self {
            allow_persistent: manifest.allow_persistent && !args.allow_persistent,
            ..Self::default()
        };
        for command in &manifest.allow {
            if !args.allow.contains(command) && !asks.allow.contains(command) {
                asks.allow.push(command.clone());
            }
        }
        if args.unconfined {
            // These processes see everything, and have this machine's network.
            return asks;
        }
        asks.network = args.network.not_granted(&manifest.network);
        asks.commits = manifest.commits && !args.commits;
        for text in manifest.visible.iter().take(FOLDERS) {
            let told = |why: &dyn std::fmt::Display| format!("{}, which is impossible: {why}", word(text));
            match text.parse::<Written<Visible>>() {
                Ok(asked) if args.visible.iter().any(|given| given.value.covers(&asked.value)) => {}
                Ok(asked) => match visible::check(&asked.value, workspace) {
                    Ok(()) => asks.visible.push(asked),
                    Err(error) => asks.impossible.push(told(&error)),
                },
                Err(error) => asks.impossible.push(told(&error)),
            }
        }
        asks
    }

    /// Grants what `--grant-all-asked` grants, and keeps the rest.
    pub(crate) fn grant(&mut self, args: &mut HostArgs) {
        args.allow.append(&mut self.allow);
        args.allow_persistent |= std::mem::take(&mut self.allow_persistent);
        args.visible.append(&mut self.visible);
        let (publish, egress) = (&mut self.network.publish, &mut self.network.egress);
        args.network.grant(std::mem::take(publish), std::mem::take(egress));
    }

    /// Shows the list, if there is anything in it.
    pub(crate) fn tell(&self) {
        if let Some(text) = self.text() {
            console::tell(&text);
        }
        for impossible in self.impossible.iter().take(LISTED) {
            tracing::warn!("the capsule asks to see {impossible}");
        }
    }

    fn text(&self) -> Option<String> {
        let network::Granting { host, publish, egress } = &self.network;
        let mut options: Vec<String> = self.allow.iter().map(|command| option("allow", command)).collect();
        options.extend(self.allow_persistent.then(|| "--allow-persistent".to_owned()));
        options.extend(self.visible.iter().map(|folder| option("visible", &folder.text)));
        options.extend(publish.iter().map(|port| option("publish", &port.text)));
        options.extend(egress.iter().map(|rule| option("egress", &rule.text)));
        let by_one_option = options.len();
        options.extend(host.then(|| "--network host (only by this option)".to_owned()));
        options.extend(self.commits.then(|| "--commits (only by this option)".to_owned()));
        if options.is_empty() {
            return None;
        }
        let more = options.len().saturating_sub(LISTED);
        options.truncate(LISTED);
        let mut lines = vec!["the capsule asks for these grants, which you did not give:".to_owned()];
        lines.append(&mut options);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        if by_one_option > 0 {
            lines.push(
                "--grant-all-asked gives them for this run, and with --save-grants for the next runs too".to_owned(),
            );
        }
        Some(lines.join("\n"))
    }
}
