//! What a case asks of the driver: its answer to the action `plan`, as JSON.
//!
//! The plan language is small enough to read at a glance. Everything that a guest can do is done in the guest. A case
//! without a plan is one call of `run` by `alice`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::host::{Grants, Layer, Settings, Start};

/// The plan of a case. Every field may be omitted.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Plan {
    pub(crate) needs: Vec<Need>,
    /// Without these the case has no meaning.
    settings: Map<String, Value>,
    /// These make the case faster, or leave it room.
    wishes: Map<String, Value>,
    pub(crate) grants: Grants,
    /// Other grants, for the capsules named here.
    pub(crate) capsules: BTreeMap<String, Grants>,
    pub(crate) steps: Vec<Step>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            needs: Vec::new(),
            settings: Map::new(),
            wishes: Map::new(),
            grants: Grants::default(),
            capsules: BTreeMap::new(),
            steps: vec![Step::Run("run".into())],
        }
    }
}

impl Plan {
    /// What the host is to be started with in this workspace.
    ///
    /// # Errors
    /// The plan names a setting that does not exist, or gives it a wrong value.
    pub(crate) fn start(&self, workspace: PathBuf) -> Result<Start, serde_json::Error> {
        let needs = Settings::deserialize(Value::from(self.settings.clone()))?;
        let mut all = self.settings.clone();
        all.extend(self.wishes.clone());
        let wishes = Settings::deserialize(Value::from(all))?;
        Ok(Start {
            workspace,
            needs,
            wishes,
        })
    }

    /// Whether two calls of the same capsule and principal run at once.
    pub(crate) fn has_concurrent_calls(&self) -> bool {
        self.steps.iter().any(|step| {
            let Step::Parallel { parallel } = step else {
                return false;
            };
            let mut callers = BTreeSet::new();
            parallel.iter().any(|branch| {
                let of_branch: BTreeSet<_> = branch.iter().filter_map(Step::caller).collect();
                let shares = !callers.is_disjoint(&of_branch);
                callers.extend(of_branch);
                shares
            })
        })
    }
}

/// What the host must be so that the case is applicable.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Need {
    /// A part of the confinement.
    Confined(Layer),
    Unconfined,
    /// No other case may run meanwhile.
    Alone,
}

/// One step. Its data is the payload of the next step.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Step {
    /// An abbreviation for a call with the defaults for every field.
    Run(String),
    Call(Call),
    /// Concurrent branches, each a list of steps. All get the same payload, and their data is joined by newlines.
    Parallel {
        parallel: Vec<Vec<Self>>,
    },
    Do(Do),
    /// Checks that no process holds a `flock` on this file of the workspace.
    Unlocked {
        unlocked: String,
    },
    /// Checks that a process holds a `flock` on this file of the workspace.
    Locked {
        locked: String,
    },
    /// Checks that the payload's first word is the pid of a process with these arguments, of which the first is the program's name.
    Runs {
        runs: Vec<String>,
    },
    /// Checks that the payload's lines are pids, none of which is a zombie.
    NoZombies {
        #[serde(rename = "no-zombies")]
        _mark: (),
    },
}

impl Step {
    /// The capsule and the principal of a call.
    fn caller(&self) -> Option<(String, String)> {
        match self {
            Self::Run(_) => Some((first(), alice())),
            Self::Call(call) => Some((call.capsule.clone(), call.principal.clone())),
            Self::Parallel { .. }
            | Self::Do(_)
            | Self::Unlocked { .. }
            | Self::Locked { .. }
            | Self::Runs { .. }
            | Self::NoZombies { .. } => None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    pub(crate) call: String,
    /// The principal. The empty string is a caller who was not authenticated.
    #[serde(default = "alice", rename = "as")]
    pub(crate) principal: String,
    /// One of the case's capsules, all of which are loaded from its one component.
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

/// The expected end of a call.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ends {
    /// With an answer.
    #[default]
    Answered,
    /// With an answer, or cancelled before it.
    Cancelled,
    /// Ended by the host, whatever the guest does.
    Interrupted,
    /// With a trap or another fault of the guest's.
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

/// A request to the host.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    Reload,
    Unload,
    /// Loads the same capsule again, after it was unloaded.
    Load,
    Shutdown,
    /// Adds an empty line and the description of the host, as one JSON object, to the payload.
    Describe,
    /// Adds an empty line and the audit records, one JSON object for each line, to the payload.
    Audit,
    /// Adds an empty line and the metrics, as one JSON object, to the payload.
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
            r#"{"needs": [{"confined": "network"}], "settings": {"wait-max-ms": 5},
                "wishes": {"grace-max-ms": 6}, "grants": {"commands": [], "persistent": false},
                "capsules": {"b": {"commands": ["cat"]}},
                "steps": ["a", {"call": "b", "as": "", "capsule": "b", "ends": "trapped"}, {"do": "reload"},
                          {"parallel": [["a"], [{"do": "unload", "capsule": "b"}, "c"]]}, {"unlocked": "f"}]}"#,
        )
        .unwrap();
        let start = plan.start("/w".into()).unwrap();
        assert_eq!((start.needs.wait_max_ms, start.needs.grace_max_ms), (Some(5), None));
        assert_eq!(
            (start.wishes.wait_max_ms, start.wishes.grace_max_ms),
            (Some(5), Some(6))
        );
        assert_eq!(plan.needs, [Need::Confined(Layer::Network)]);
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
    fn calls_of_one_owner_in_two_branches_are_concurrent() {
        for (steps, is_concurrent) in [
            (r#"[{"parallel": [["a"], ["b"]]}]"#, true),
            (
                r#"[{"parallel": [["a", {"call": "a", "capsule": "b"}], [{"call": "b", "capsule": "b"}]]}]"#,
                true,
            ),
            (
                r#"[{"parallel": [["a", "b"], [{"call": "b", "as": "bob"}], [{"call": "b", "capsule": "b"}]]}]"#,
                false,
            ),
            (r#"["a", "b"]"#, false),
        ] {
            let plan = plan(&format!(r#"{{"steps": {steps}}}"#)).unwrap();
            assert_eq!(plan.has_concurrent_calls(), is_concurrent, "{steps}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for wrong in [
            r#"{"limits": {}}"#,
            r#"{"steps": [{"call": "a", "by": "b"}]}"#,
            r#"{"needs": ["luck"]}"#,
        ] {
            plan(wrong).unwrap_err();
        }
        for wrong in [r#"{"settings": {"wait": 1}}"#, r#"{"wishes": {"wait-max-ms": "long"}}"#] {
            plan(wrong).unwrap().start(PathBuf::new()).unwrap_err();
        }
    }
}
