//! State over instances, a deadline, and an interrupt.

use serde_json::json;

use crate::readme::{lacks, run};

#[test]
fn a_loop_without_end_is_interrupted_and_the_variables_stay() {
    if lacks("/usr/bin/python3") {
        return;
    }
    let shown = run("python-repl", &[]);
    assert_eq!(shown.data(1)["value"], "42", "{shown:#?}");
    assert_eq!(shown.lines[2]["result"]["action"], "abort", "{shown:#?}");
    assert_eq!(
        shown.data(4)["value"],
        "True",
        "the loop counted, and Python lives: {shown:#?}"
    );
    assert_eq!(shown.data(5), &json!({ "code": null, "signal": 15 }), "{shown:#?}");
    assert_eq!(shown.code, Some(1), "one of the calls failed");
}
