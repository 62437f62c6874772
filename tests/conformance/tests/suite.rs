//! Runs the suite, confined, against this project's host, with a test for each case. Checks that every clause has a
//! case, and that the suite can fail.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use capsule_conformance::{CASES, CLAUSES, CapsuleHost, Verdict, WITHOUT_CASE, run_one};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;
use wit_component::DecodedWasm;
use wit_parser::WorldItem;

#[path = "suite/broken.rs"]
mod broken;
#[path = "suite/cache.rs"]
mod cache;
#[path = "suite/mutant/mod.rs"]
mod mutant;
#[path = "suite/published.rs"]
mod published;
#[path = "suite/table.rs"]
mod table;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A case mostly waits for processes, and the tests should also run some cases concurrently.
    arguments.test_threads.get_or_insert(4);
    let runtime = Arc::new(Runtime::new().expect("threads can be started"));
    let mut trials: Vec<Trial> = CASES
        .iter()
        .map(|case| {
            let runtime = Arc::clone(&runtime);
            Trial::test(case.name, move || {
                let host = runtime.block_on(async { CapsuleHost::confined() })?;
                let outcome = runtime.block_on(run_one(&host.cache_dir(Some(cache::dir())), *case));
                match outcome.verdict {
                    Verdict::Passed(_) => Ok(()),
                    Verdict::Failed(why) => Err(Failed::from(why)),
                    // On this host, confined, only cases about unconfined hosts may be not applicable.
                    Verdict::NotApplicable(reason) if reason.contains("unconfined") => Ok(()),
                    Verdict::NotApplicable(reason) => Err(Failed::from(format!("not applicable: {reason}"))),
                }
            })
        })
        .collect();
    trials.push(Trial::test("every_clause_has_a_case", every_clause_has_a_case));
    trials.push(Trial::test(
        "no_case_imports_anything_but_astrid",
        no_case_imports_anything_else,
    ));
    trials.push(Trial::test("no_case_without_a_clause", no_case_without_a_clause));
    trials.push(Trial::test(
        "the_list_of_clauses_is_the_contracts",
        the_list_is_the_contracts,
    ));
    trials.push(published::trial());
    trials.extend(broken::trials(&runtime));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn every_clause_has_a_case() -> Result<(), Failed> {
    let has_case = |clause: &str| CASES.iter().any(|case| case.clause() == clause);
    let is_excused = |clause: &str| WITHOUT_CASE.iter().any(|(excused, _)| *excused == clause);
    // A clause with a case needs no reason.
    let without: Vec<_> = CLAUSES
        .iter()
        .filter(|clause| has_case(clause) == is_excused(clause))
        .collect();
    if without.is_empty() {
        Ok(())
    } else {
        Err(format!("clauses without a case: {without:?}").into())
    }
}

fn no_case_without_a_clause() -> Result<(), Failed> {
    for case in CASES {
        if !CLAUSES.contains(&case.clause().as_str()) {
            return Err(format!("{} is named after no clause", case.name).into());
        }
    }
    Ok(())
}

/// A host of `astrid:process` need not serve WASI, nor anything of this project's own.
fn no_case_imports_anything_else() -> Result<(), Failed> {
    for case in CASES {
        let decoded = wit_component::decode(case.component())?;
        let DecodedWasm::Component(resolve, world) = decoded else {
            return Err(format!("{} is no component", case.name).into());
        };
        let imports = &resolve.worlds.get(world).ok_or("a component has a world")?.imports;
        // A type that the world itself names, for its export.
        let imports = imports
            .iter()
            .filter(|(_, item)| !matches!(item, WorldItem::Type { .. }));
        let names: Vec<_> = imports.map(|(key, _)| resolve.name_world_key(key)).collect();
        if names.is_empty() || !names.iter().all(|name| name.starts_with("astrid:")) {
            return Err(format!("{} imports {names:?}", case.name).into());
        }
    }
    Ok(())
}

/// The list of clauses, and which of them are not kept yet, must equal `docs/contract.md`, which is the authority.
fn the_list_is_the_contracts() -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contract.md");
    let contract =
        std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let clauses: Vec<_> = contract
        .lines()
        .filter_map(|line| line.strip_prefix("- **")?.split_once("**"))
        .collect();
    let names: Vec<_> = clauses.iter().map(|(name, _)| *name).collect();
    if names != CLAUSES {
        return Err(format!("the contract has {names:?}").into());
    }
    for (name, text) in clauses {
        let is_kept = !text.starts_with(" *Not kept yet.*");
        let excuse = WITHOUT_CASE.iter().find(|(excused, _)| *excused == name);
        if is_kept == excuse.is_some_and(|(_, reason)| reason.starts_with("not kept yet")) {
            return Err(format!("{name}: the contract and WITHOUT_CASE differ on whether it is kept").into());
        }
    }
    Ok(())
}
