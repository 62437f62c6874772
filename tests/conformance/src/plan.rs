//! What a case asks of the driver: its answer to the action `plan`, as JSON.
//!
//! Kept so small that it can be read at a glance; whatever can be done in the guest is done there. Without a plan a case
//! is one call of `run` by `alice`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::host::{Grants, Settings};

/// A case's wishes. Every field may be left out.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Plan {
    pub(crate) needs: Vec<Need>,
    pub(crate) settings: Settings,
    pub(crate) grants: Grants,
    /// Other grants for the capsules named here.
    pub(crate) capsules: BTreeMap<String, Grants>,
    pub(crate) steps: Vec<Step>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            needs: Vec::new(),
            settings: Settings::default(),
            grants: Grants::default(),
            capsules: BTreeMap::new(),
            steps: vec![Step::Run("run".into())],
        }
    }
}

/// What the host must be for the case to mean something.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Need {
    Confined,
    Unconfined,
    /// No other case may run meanwhile.
    Alone,
}

/// One step. Its data is the payload of the next.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Step {
    /// Short for a call with everything left out.
    Run(String),
    Call(Call),
    /// Branches at once, each a list of steps; all get the same payload, and their data is joined by newlines.
    Parallel {
        parallel: Vec<Vec<Self>>,
    },
    Do(Do),
    /// No process holds a `flock` on this file of the workspace, now.
    Unlocked {
        unlocked: String,
    },
    /// A process holds a `flock` on this file of the workspace, now.
    Locked {
        locked: String,
    },
    /// The payload's first word is the pid of a process whose command line holds this.
    Runs {
        runs: String,
    },
    /// The payload's lines are pids, none of which is a zombie.
    NoZombies {
        #[serde(rename = "no-zombies")]
        _mark: (),
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    pub(crate) call: String,
    /// On whose behalf; the empty string is a caller who was not authenticated.
    #[serde(default = "alice", rename = "as")]
    pub(crate) principal: String,
    /// Which of the case's capsules, all loaded from its one component.
    #[serde(default = "first")]
    pub(crate) capsule: String,
    #[serde(default)]
    pub(crate) ends: Ends,
}

fn alice() -> String {
    "alice".into()
}

pub(crate) fn first() -> String {
    "a".into()
}

/// How a call is to end.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ends {
    /// By an answer.
    #[default]
    Answered,
    /// By an answer, or by being cancelled before it came.
    Cancelled,
    /// By being ended, whatever the guest does.
    Interrupted,
    /// By the guest's own fault.
    Trapped,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Do {
    #[serde(rename = "do")]
    pub(crate) what: What,
    #[serde(default = "first")]
    pub(crate) capsule: String,
}

/// What the host is told.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    Reload,
    Unload,
    /// The same capsule again, after it was unloaded.
    Load,
    Shutdown,
    /// Adds an empty line and what the host says of itself, as one JSON object, to the payload.
    Describe,
    /// Adds an empty line and the records, one JSON object a line, to the payload.
    Audit,
    /// Adds an empty line and the figures as one JSON object to the payload.
    Metrics,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Plan, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn nothing_said_is_one_call_by_alice() {
        let plan = plan("{}").unwrap();
        assert!(matches!(&plan.steps[..], [Step::Run(action)] if action == "run"));
        assert_eq!(plan.grants.commands, ["sh"]);
    }

    #[test]
    fn every_kind_of_step() {
        let plan = plan(
            r#"{"needs": ["confined"], "settings": {"wait-max-ms": 5}, "grants": {"commands": [], "persistent": false},
                "capsules": {"b": {"commands": ["cat"]}},
                "steps": ["a", {"call": "b", "as": "", "capsule": "b", "ends": "trapped"}, {"do": "reload"},
                          {"parallel": [["a"], [{"do": "unload", "capsule": "b"}, "c"]]}, {"unlocked": "f"}]}"#,
        )
        .unwrap();
        assert_eq!(plan.settings.wait_max_ms, Some(5));
        assert!(plan.grants.commands.is_empty() && plan.capsules["b"].persistent);
        assert!(matches!(
            &plan.steps[..],
            [
                Step::Run(_),
                Step::Call(_),
                Step::Do(_),
                Step::Parallel { .. },
                Step::Unlocked { .. }
            ]
        ));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for wrong in [
            r#"{"limits": {}}"#,
            r#"{"settings": {"wait": 1}}"#,
            r#"{"steps": [{"call": "a", "by": "b"}]}"#,
            r#"{"needs": ["luck"]}"#,
        ] {
            plan(wrong).unwrap_err();
        }
    }
}
