//! The tools: one for each action that the manifest of a capsule describes, and the bundled capsule's for processes.
//!
//! A tool's name is the capsule's and the action's, joined by `_`, because several capsules may have an action `start`. Clients
//! and models accept only names of letters, digits, `_` and `-`, of 64 characters at most.

use std::collections::BTreeSet;

use capsule_host::Refusal;
use capsule_process_tools::{COMPONENT, MANIFEST};
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Map, json};

use crate::args::HostArgs;
use crate::failure::Failure;
use crate::hosting::Plan;
use crate::manifest::Action;

/// The name of the bundled capsule.
const PROCESS: &str = "process";
/// Its action that starts a command.
const START: &str = "start";
/// Its actions that wait for a process.
const WAITING: [&str; 4] = ["read", "write", "wait", "stop"];
/// The longest name of a tool.
const NAME_MAX: usize = 64;

/// A tool, and the action that it calls.
pub(super) struct Offer {
    pub(super) tool: Tool,
    pub(super) action: String,
    /// For a tool that starts the command that its argument `command` names.
    pub(super) starts: Option<Starts>,
    /// Whether it may wait for long, so that only so many calls of it are made at once.
    pub(super) may_wait: bool,
}

/// What a tool that starts commands is granted.
#[derive(Debug)]
pub(super) struct Starts {
    commands: Vec<String>,
}

impl Starts {
    /// Why the start of this command was denied.
    pub(super) fn refusal(&self, command: &str) -> Refusal {
        if self.commands.iter().any(|granted| granted == command) {
            Refusal::Persistent
        } else {
            Refusal::Command(command.to_owned())
        }
    }
}

/// The bundled capsule.
pub(super) fn process_tools(args: HostArgs) -> Result<Plan, Failure> {
    Plan::bundled(args, PROCESS, COMPONENT, MANIFEST)
}

/// The tools of each capsule, in their order.
pub(super) fn offers(plans: &[Plan]) -> Result<Vec<Vec<Offer>>, Failure> {
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for plan in plans {
        let capsule = plan.id().unwrap_or_default();
        let actions = &plan.manifest().actions;
        if actions.is_empty() {
            tracing::warn!(
                "the capsule {capsule} has no tools, because its manifest describes no action: write `[actions.NAME]` with a \
                 `description` for each; `capsule mcp --help` shows one"
            );
        }
        let mut offers = Vec::new();
        for action in actions {
            let name = tool_name(&capsule, &action.name)?;
            if !names.insert(name.clone()) {
                return Err(Failure::Tools(format!(
                    "two tools have the name {name}, the second from the capsule {capsule}: change the name of a capsule in its \
                     manifest"
                )));
            }
            let is_start = plan.is_bundled() && action.name == START;
            let mut tool = tool(name, action);
            if is_start {
                let description = format!("{} {}", tool.description.unwrap_or_default(), what_is_granted(plan));
                tool.description = Some(description.into());
            }
            offers.push(Offer {
                tool,
                action: action.name.clone(),
                starts: is_start.then(|| Starts {
                    commands: plan.args().allow.clone(),
                }),
                // What another capsule's action does is unknown.
                may_wait: !plan.is_bundled() || WAITING.contains(&action.name.as_str()),
            });
        }
        all.push(offers);
    }
    Ok(all)
}

fn tool(name: String, action: &Action) -> Tool {
    let any_object = || Map::from_iter([("type".to_owned(), json!("object"))]);
    let schema = action.input.clone().unwrap_or_else(any_object);
    let description = action.description.as_ref().map(|text| text.trim().to_owned());
    let tool = Tool::new_with_raw(name, description.map(Into::into), schema);
    tool.with_annotations(ToolAnnotations::new().read_only(action.read_only))
}

fn tool_name(capsule: &str, action: &str) -> Result<String, Failure> {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || matches!(character, '_' | '-') {
            character
        } else {
            '_'
        }
    };
    let name: String = format!("{capsule}_{action}").chars().map(plain).collect();
    if name.len() > NAME_MAX {
        return Err(Failure::Tools(format!(
            "the name {name} is too long for a tool, which may have {NAME_MAX} characters: shorten the name of the capsule or of the \
             action in its manifest"
        )));
    }
    Ok(name)
}

/// What an agent must know to start a command.
fn what_is_granted(plan: &Plan) -> String {
    let args = plan.args();
    let commands = if args.allow.is_empty() {
        "No command is granted yet: the user grants one with the option --allow of `capsule mcp`.".to_owned()
    } else {
        format!("Granted commands: {}.", args.allow.join(", "))
    };
    let mut text = format!("{commands} The workspace is {}.", plan.workspace().path().display());
    if !args.allow_persistent {
        text.push_str(
            " No process can be started until the user gives the option --allow-persistent, which --unconfined needs.",
        );
    }
    if args.unconfined {
        text.push_str(" The user has taken the confinement away: processes have all rights of the user.");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::manifest::Manifest;

    #[test]
    fn a_name_is_one_that_clients_accept() {
        assert_eq!(tool_name("dev-server", "start").unwrap(), "dev-server_start");
        assert_eq!(tool_name("a.b", "c d/é").unwrap(), "a_b_c_d__");
        assert!(
            tool_name("capsule", &"a".repeat(60))
                .unwrap_err()
                .to_string()
                .contains("too long")
        );
    }

    #[test]
    fn the_bundled_manifest_describes_every_tool_and_argument() {
        let manifest = Manifest::of_bundled(MANIFEST).unwrap();
        let names: Vec<_> = manifest.actions.iter().map(|action| action.name.as_str()).collect();
        assert_eq!(names, ["start", "read", "write", "wait", "stop", "signal", "list"]);
        for action in &manifest.actions {
            assert!(action.description.is_some(), "{}", action.name);
            let schema = Value::Object(tool(action.name.clone(), action).input_schema.as_ref().clone());
            assert_eq!(schema["type"], "object");
            assert_eq!(schema["additionalProperties"], false);
            for required in schema["required"].as_array().into_iter().flatten() {
                assert!(schema["properties"][required.as_str().unwrap()].is_object(), "{schema}");
            }
        }
        assert!(manifest.allow_persistent);
    }

    #[test]
    fn an_action_without_a_schema_takes_any_object() {
        let action = Action {
            name: "go".into(),
            description: None,
            input: None,
            read_only: false,
        };
        let tool = serde_json::to_value(tool("x_go".into(), &action)).unwrap();
        assert_eq!(tool["inputSchema"], json!({"type": "object"}));
        assert_eq!(tool["annotations"]["readOnlyHint"], false);
    }
}
