//! `capsule conformance`: judges this host by the suite. The suite brings its options, its output and its reports; this file has the host.

use capsule_conformance::CapsuleHost;

use crate::args::ConformanceArgs;
use crate::ceilings;
use crate::user_dirs::code_dir;

/// Runs the cases, prints, and returns the exit code. With `-v`, what the host logs is shown as well.
pub(crate) fn conformance(args: ConformanceArgs, verbosity: u8) -> u8 {
    let ConformanceArgs {
        mut suite,
        unconfined,
        allow_persistent,
    } = args;
    ceilings::raise_open_files();
    if verbosity > 0 {
        suite.show_output();
    }
    let command = if unconfined {
        "capsule conformance --unconfined --allow-persistent"
    } else {
        "capsule conformance"
    };
    let host = || {
        let host = if unconfined {
            Ok(CapsuleHost::unconfined(allow_persistent))
        } else {
            CapsuleHost::confined()
                .map_err(|error| format!("{error}; `capsule doctor` reports what this machine lacks"))
        };
        host.map(|host| host.cache_dir(code_dir()))
    };
    suite.run(command, host).code()
}
