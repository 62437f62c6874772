//! Which change of a host each case catches, and what it says then.
//!
//! A case that no change makes fail could pass for any reason. So each case has at least one row: a host that differs from a sound
//! one in this respect alone. The case must fail there, with the words of the row.

/// A change, and the cases that must fail by it.
pub(crate) struct Row {
    /// The name of the change, by which the host knows it.
    pub(crate) change: &'static str,
    /// Each case, and what its failure says. Where that depends on the machine, one of the texts between bars.
    pub(crate) caught_by: &'static [(&'static str, &'static str)],
    /// Whether the guest's clock runs faster, because the fault is that something never comes.
    pub(crate) hurry: bool,
}

const fn row(change: &'static str, caught_by: &'static [(&'static str, &'static str)]) -> Row {
    Row {
        change,
        caught_by,
        hurry: false,
    }
}

const fn never(change: &'static str, caught_by: &'static [(&'static str, &'static str)]) -> Row {
    Row {
        change,
        caught_by,
        hurry: true,
    }
}

/// Changes of this project's host as a whole (`broken.rs`).
pub(crate) const OF_THE_HOST: &[Row] = &[
    row(
        "every capsule may have persistent processes",
        &[("s10_needs_the_grant", "spawn-persistent: Ok(")],
    ),
    row(
        "all callers are one principal",
        &[("i3_of_another_principal", "status: Ok(")],
    ),
    row("settings are forgotten", &[("q1_shared_by_all_tiers", "spawn: Ok(")]),
    row(
        "a reload ends processes",
        &[("i4_after_a_reload", "the capsule was unloaded")],
    ),
    row(
        "a shutdown leaves processes",
        &[("b3_after_shutdown", "a process still holds")],
    ),
    row(
        "every call is answered with continue",
        &[("s1_bad_env_keys", "the answer is not the case's")],
    ),
    row(
        "an interrupted call is answered",
        &[("a4_one_that_goes_on_is_interrupted", "was to be ended, and answered")],
    ),
    row("exits are not measured", &[("u2_figures", "exit_latencies is None")]),
];

/// Changes of what a guest sees (`mutant`).
pub(crate) const OF_THE_INTERFACE: &[Row] = &[
    // Spawns: shapes, grants, folders.
    row(
        "the shape of a command is not checked",
        &[("s1_bad_commands", "\"sh\\0\": Ok(")],
    ),
    row(
        "a bad shape is denied",
        &[("s1_bad_commands", "CapabilityDenied), and not ErrorCode::InvalidInput")],
    ),
    row(
        "variables are left out",
        &[
            ("s1_bad_env_keys", "the key \"\": Ok("),
            ("s2_nothing_of_the_hosts_environment", "spawn: GIVEN did not arrive"),
        ],
    ),
    row("NUL is left out", &[("s1_nul_in_values", "an argument: Ok(")]),
    row(
        "too many arguments are cut",
        &[("s1_too_large_in_all", "17 arguments and 0 values of 64 KiB: Ok(")],
    ),
    row(
        "variables above 256 are left out",
        &[("s1_too_many_variables", "257: Ok(")],
    ),
    row("HOME is the host's", &[("s2_home_is_private", "HOME is \".\"")]),
    row(
        "a bare command is sought in the workspace",
        &[("s2_no_program_of_the_workspace", "a program of the workspace ran")],
    ),
    row(
        "another spelling is granted too",
        &[("s2_no_program_of_the_workspace", "cat: Ok(")],
    ),
    row(
        "a variable of the host's is passed on",
        &[("s2_nothing_of_the_hosts_environment", "the child sees SECRET")],
    ),
    row(
        "the working directory is ignored",
        &[("s3_inside", "spawn in in: \"/"), ("s3_leads_out", "/: Ok(")],
    ),
    row(
        "a folder that is exchanged leads out",
        &[("s3_no_window", "a child was started in \"/\"")],
    ),
    row(
        "the grant for processes is not asked for",
        &[(
            "s4_no_grant_comes_first",
            "InvalidInput), and not ErrorCode::CapabilityDenied",
        )],
    ),
    row(
        "the gate comes first",
        &[("s4_order_of_checks", "spawn: S7 before the gate")],
    ),
    row(
        "a quota comes before the working directory",
        &[("s4_order_of_checks", "S3 before S10: Err(ErrorCode::Quota)")],
    ),
    row(
        "a dropped handle ends nothing",
        &[("s5_back_before_a_drop_returns", "round 1: ErrorCode::Quota")],
    ),
    row(
        "a slot is given back late",
        &[("s5_back_before_the_exit_is_seen", "no room for a spawn in round 0")],
    ),
    row(
        "a principal may have one process more",
        &[
            ("s5_given_back_once", "a third of two: Ok("),
            ("q1_eight_by_default", "the ninth: Ok("),
        ],
    ),
    row(
        "a principal may have one process less",
        &[("q1_eight_by_default", "process 7: Err(")],
    ),
    row(
        "a refused spawn takes a slot",
        &[(
            "s5_refused_without_side_effect",
            "Err(ErrorCode::Quota), and not ErrorCode::BoundaryEscape",
        )],
    ),
    row(
        "what cannot be executed is not found",
        &[
            ("s6_cannot_be_executed", "and not permission-denied:"),
            ("s6_not_found_in_the_background", "and not permission-denied:"),
        ],
    ),
    row(
        "a format that is unknown is not found",
        &[("s6_cannot_be_executed", "and not exec-failed:")],
    ),
    row(
        "127 is a program that is missing",
        &[("s6_codes_are_the_programs", "unexpected ErrorCode::Unknown(\"not-found")],
    ),
    row(
        "a missing program is an exit",
        &[
            ("s6_not_found", "absent: Ok("),
            ("s6_not_found_in_the_background", "absent: Ok("),
        ],
    ),
    row("a prelude is cut", &[("s7_prelude_too_large", "one byte more: Ok(")]),
    row(
        "the last byte of a prelude is lost",
        &[
            ("s7_four_mib_through_cat", "4194303 bytes came back"),
            ("s7_prelude_too_large", "one byte more: Ok("),
        ],
    ),
    row(
        "a prelude is lost",
        &[
            ("s7_spawn_does_not_wait_for_the_prelude", "7\\n7\\nthe end"),
            ("n4_close_comes_after_all_writes", "other than the prelude arrived"),
            ("n4_eof_follows_the_writes", "round 0: \"one two\""),
            ("l2_bytes_as_they_are", "in pieces of 1 something else came"),
        ],
    ),
    row(
        "stdin is always kept open",
        &[
            ("s7_null_unless_asked", "stdin-open is true without a pipe"),
            ("n4_closed_unless_kept_open", "a write: Ok(1)"),
        ],
    ),
    row(
        "stdin is never kept open",
        &[
            ("n3_closed_by_the_child", "its stdin is not open"),
            ("n3_ends_when_the_child_does", "its stdin is not open"),
            ("n4_close_comes_after_all_writes", "stdin is not open"),
            ("n1_every_byte_in_order", "unexpected ErrorCode::Closed"),
            (
                "s9_ephemeral_ignores_what_is_persistent",
                "unexpected ErrorCode::Closed",
            ),
        ],
    ),
    row(
        "captured output is cut",
        &[("s8_all_of_both_streams", "stdout: 1000000 bytes")],
    ),
    row(
        "standard error is lost",
        &[
            ("s8_all_of_both_streams", "stderr: 0 bytes"),
            ("a1_every_method_of_an_attached_handle", "stderr: \"\""),
        ],
    ),
    row(
        "too much output is cut",
        &[("s8_too_much_is_no_truncation", "endless output: Ok(")],
    ),
    row(
        "a spawn that is cancelled has timed out",
        &[("s8_unloading_ends_it", "unloaded: Err(ErrorCode::WaitTimeout)")],
    ),
    never(
        "a dropped handle ends nothing",
        &[("s9_drop_ends_the_tree", "lock free: it did not come")],
    ),
    never(
        "an instance's processes stay",
        &[("s9_ends_with_the_instance", "lock free: it did not come")],
    ),
    row(
        "all kinds of spawn heed a lifetime of 0",
        &[(
            "s9_ephemeral_ignores_what_is_persistent",
            "unexpected ErrorCode::InvalidInput",
        )],
    ),
    row(
        "a caller without a name has one",
        &[("s10_needs_a_principal", "spawn-persistent: Ok(")],
    ),
    row(
        "the grant for persistent processes is not asked for",
        &[("s10_needs_the_grant", "spawn-persistent: Ok(")],
    ),
    row(
        "spawn-background heeds the command only",
        &[
            (
                "s2_nothing_of_the_hosts_environment",
                "spawn-background: GIVEN did not arrive",
            ),
            ("s3_inside", "spawn-background in in: "),
            ("s7_prelude_too_large", "spawn-background: of 4 MiB arrived \"0"),
            ("r1_open_files", "spawn-background: \""),
            ("j1_fixed_path", "spawn-background, /tmp/given/config.json: \"\""),
        ],
    ),
    row(
        "spawn-persistent heeds the command only",
        &[
            (
                "s2_nothing_of_the_hosts_environment",
                "spawn-persistent: GIVEN did not arrive",
            ),
            ("s3_inside", "spawn-persistent in in: "),
            ("s7_prelude_too_large", "one byte more: Ok("),
            ("r1_open_files", "spawn-persistent: \""),
            ("j1_fixed_path", "spawn-persistent, /tmp/given/config.json: \"\""),
        ],
    ),
    row(
        "a key that comes twice is left out",
        &[("s1_bad_env_keys", "a key given twice: Ok(")],
    ),
    row(
        "a reserved name is left out",
        &[("s1_bad_env_keys", "the key \"NODE_OPTIONS\": Ok(")],
    ),
    row(
        "an absolute folder in the workspace is allowed",
        &[("s3_leads_out", ": Ok(")],
    ),
    row(
        "a folder that is missing is the workspace",
        &[("s3_inside", "missing: Ok(")],
    ),
    // Ids.
    row(
        "an id is a character shorter",
        &[("i1_shape_of_an_id", "51 characters")],
    ),
    row("an id is in capitals", &[("i1_shape_of_an_id", "not base32")]),
    row(
        "ids begin alike",
        &[("i1_shape_of_an_id", "character 0 takes 1 values")],
    ),
    row(
        "the audit holds ids",
        &[
            ("i2_not_in_the_audit", "an id stands in the audit"),
            ("u1_what_stands_in_them", "is in the audit"),
        ],
    ),
    row(
        "the audit hashes an id anew each time",
        &[("i2_not_in_the_audit", "hashes of one id: [")],
    ),
    row(
        "the metrics hold ids",
        &[("i2_not_in_the_metrics", "an id stands in the metrics")],
    ),
    row(
        "a malformed id is invalid",
        &[
            ("i3_no_oracle", "InvalidInput), of one never issued"),
            ("i3_no_oracle_of_handles_and_events", "attach says"),
        ],
    ),
    row("all capsules are one", &[("i3_of_another_capsule", "status: Ok(")]),
    row("all principals are one", &[("i3_of_another_principal", "status: Ok(")]),
    row(
        "version 1.0.0 has processes of its own",
        &[("i4_from_a_later_instance", "version 1.0.0 does not know it")],
    ),
    row("only one stream is buffered", &[("i5_buffered_bytes", "4 of 8 bytes")]),
    row(
        "a command stands without its arguments",
        &[("i5_command_and_label", "command: \"sh\"")],
    ),
    row(
        "a label is cut to 64 bytes",
        &[("i5_command_and_label", "the label \"xxx")],
    ),
    row(
        "the filter ignores case",
        &[("i5_filter_is_plain", "\"web\" finds [\"Web\"")],
    ),
    row(
        "the filter is ignored",
        &[("i5_filter_is_plain", "\"web\" finds [\"100%\"")],
    ),
    row(
        "the list is in another order",
        &[("i5_own_in_order", "another order, or others: 10 listed, 10 expected")],
    ),
    row(
        "the list leaves out what has exited",
        &[("i5_own_in_order", "another order, or others: 5 listed, 10 expected")],
    ),
    // Output.
    row(
        "characters are torn",
        &[("l1_characters_are_not_torn", "a part of a character came")],
    ),
    row(
        "read-logs does not drain",
        &[
            ("l1_drains", "it was not consumed"),
            ("a1_one_state", "drained by one, and still there for another"),
        ],
    ),
    row(
        "a process runs after its exit",
        &[("l1_drains", "last: ReadLogsResult")],
    ),
    row(
        "a read loses a byte",
        &[
            ("l2_bytes_as_they_are", "in pieces of 1 something else came"),
            ("l6_nothing_is_lost", "bytes came, 0 were lost"),
        ],
    ),
    row(
        "a read has other bytes",
        &[("l2_bytes_as_they_are", "in pieces of 1 something else came")],
    ),
    row(
        "max-bytes is ignored",
        &[("l2_bytes_as_they_are", "bytes for at most 1")],
    ),
    row(
        "a read drains",
        &[("l2_does_not_drain", "the same read says something else")],
    ),
    row("max-bytes of 0 is all", &[("l2_sizes", "max-bytes 0: 4194304 bytes")]),
    row("a read is of any size", &[("l2_sizes", "6000004 bytes at once")]),
    row(
        "a bad token is the beginning",
        &[
            ("l3_tokens_are_bound", "the other stream's: Ok("),
            ("l3_tokens_are_sealed", "a token of 0 bytes, \"\": Ok("),
        ],
    ),
    row("a read repeats a byte", &[("l4_books_balance", "chunk 1: ")]),
    row(
        "lost bytes are not counted",
        &[("l4_drained_is_told_from_evicted", "after the drain: LogChunk")],
    ),
    row(
        "evicted bytes are not counted",
        &[("l4_drained_is_told_from_evicted", "0 evicted, of 5005 bytes")],
    ),
    row(
        "the size of a ring is ignored",
        &[
            ("l5_newest_are_kept_exactly", "Some(4096) kept"),
            ("l5_sizes_are_clamped", "Some(4294967295) kept 1048576 bytes"),
        ],
    ),
    never(
        "overflow always drops the oldest",
        &[
            (
                "l6_a_full_ring_blocks_the_child",
                "there is no room for|all of it: it did not come",
            ),
            ("l6_nothing_is_lost", "were lost"),
        ],
    ),
    row(
        "acknowledged bytes go at once",
        &[(
            "l6_acknowledged_stay_until_room_is_needed",
            "acknowledged bytes went without need: 0 left",
        )],
    ),
    row(
        "each chunk is the last",
        &[("l7_never_before_the_last_byte", "before the exit: LogChunk")],
    ),
    row(
        "an exit is the end of a stream",
        &[
            ("l7_never_before_the_last_byte", "byte 0: drained-eof true"),
            ("x3_exit_shows_over_a_full_ring", "end of file after"),
        ],
    ),
    never(
        "both streams share a ring",
        &[(
            "l8_streams_do_not_block_each_other",
            "the other stream: it did not come",
        )],
    ),
    row(
        "lost bytes are those of one chunk",
        &[("l4_books_balance", "delivered, |bytes are accounted for")],
    ),
    row(
        "read-logs confuses the streams",
        &[
            ("l1_drains", "first: ReadLogsResult"),
            ("i5_buffered_bytes", "ReadLogsResult"),
        ],
    ),
    row(
        "read-since confuses the streams",
        &[("l2_bytes_as_they_are", "in pieces of 1 something else came")],
    ),
    row(
        "invalid bytes are left out",
        &[("l1_characters_are_not_torn", "the rest: \"€bc\"")],
    ),
    // Input.
    row(
        "a write is counted short",
        &[("n1_every_byte_in_order", "1048575 of 1048576 bytes")],
    ),
    row(
        "the last byte of a write is lost",
        &[("n1_every_byte_in_order", "bytes arrived of 3145728, or others")],
    ),
    row(
        "a write that is too large is begun",
        &[("n1_too_large_writes_nothing", "3 bytes arrived")],
    ),
    row(
        "a write is made twice",
        &[
            ("n1_too_large_writes_nothing", "4 bytes arrived"),
            ("n4_eof_follows_the_writes", "round 0: \"prelude one one two"),
        ],
    ),
    row(
        "a write is made in two parts",
        &[("n2_calls_are_contiguous", "a call's bytes are not together")],
    ),
    row(
        "a write that is cancelled is closed",
        &[("n3_cancelled_by_unloading", "block: ErrorCode::Closed")],
    ),
    row(
        "a write to a closed stdin succeeds",
        &[
            ("n3_closed_by_the_child", "it cannot be read: Ok("),
            (
                "n3_ends_when_the_child_does",
                "a child that does not read took 4194304 bytes",
            ),
            ("n4_closed_unless_kept_open", "a write: Ok("),
        ],
    ),
    row(
        "stdin is open for ever",
        &[("n4_close_comes_after_all_writes", "stdin is still open")],
    ),
    row(
        "close-stdin cannot be repeated",
        &[("n4_close_comes_after_all_writes", "unexpected ErrorCode::Closed")],
    ),
    row(
        "stdin is always a pipe",
        &[("s7_null_unless_asked", "without: \"pipe:")],
    ),
    row(
        "an empty write is invalid",
        &[("n1_every_byte_in_order", "unexpected ErrorCode::InvalidInput")],
    ),
    row(
        "only the first write to a closed stdin fails",
        &[("n3_closed_by_the_child", "the next: Ok(")],
    ),
    // Exits and waits.
    row(
        "what a command leaves behind runs on",
        &[("x1_left_behind_is_ended", "after the exit a daemon still runs")],
    ),
    row(
        "an end by a signal is a code",
        &[
            ("x2_codes_and_signals", "`kill -9 $$`: ExitInfo { exit-code: Some(137)"),
            (
                "x2_of_a_background_process",
                "`kill -9 $$`: ExitInfo { exit-code: Some(137)",
            ),
        ],
    ),
    row(
        "the code of an exit is lost",
        &[
            ("x2_codes_and_signals", "`exit 1`: ExitInfo { exit-code: Some(0)"),
            ("s6_codes_are_the_programs", "exit 1 became"),
        ],
    ),
    row(
        "the last byte comes after the exit",
        &[("x3_all_output_is_there_after_wait", "round 0: 400002 bytes are there")],
    ),
    row(
        "an exit shows when all is read",
        &[("x3_exit_shows_over_a_full_ring", "unexpected ErrorCode::WaitTimeout")],
    ),
    row(
        "a wait is half as long",
        &[
            ("x4_at_most_the_hosts_maximum", "it ended before the maximum"),
            ("x4_bounded_and_never_reaping", "wait(150) ended after"),
        ],
    ),
    row(
        "a wait releases",
        &[("x4_bounded_and_never_reaping", "unexpected ErrorCode::NoSuchProcess")],
    ),
    row(
        "only one waiter gets the exit",
        &[("x4_many_waiters", "unexpected ErrorCode::WaitTimeout")],
    ),
    row(
        "a wait without bound is always allowed",
        &[("x5_handles_may_wait_without_bound", "wait: Ok(")],
    ),
    row(
        "nothing is accounted",
        &[("x6_accounting", "cpu-ms is None while it runs")],
    ),
    row(
        "a handle has another pid",
        &[("x7_pid_of_a_handle", "the handle says another")],
    ),
    row(
        "a handle has a pid after the exit",
        &[("x7_pid_of_a_handle", "after the kill: Ok(1)")],
    ),
    row(
        "a pid is another process's",
        &[("x7_pid_of_the_command", "by its os-pid, is [")],
    ),
    row(
        "a pid stays after the exit",
        &[("x7_pid_of_the_command", "after its exit os-pid is Some(1)")],
    ),
    row(
        "an exited process has no account",
        &[("x6_accounting", "after the exit: None")],
    ),
    row(
        "every process has the same account",
        &[("x6_accounting", "a process that did nothing: ProcessInfo")],
    ),
    // Signals, stop, kill, release.
    row(
        "signals of an exited process fail",
        &[("k1_of_an_exited_one", "unexpected ErrorCode::Closed")],
    ),
    never(
        "STOP is not sent",
        &[("k1_stop_and_cont", "it to be still: it did not come")],
    ),
    never(
        "USR1 and USR2 are confused",
        &[("k1_to_the_group", "USR1: it did not come")],
    ),
    row(
        "stop always ends by TERM",
        &[
            ("k2_held_up_by_nothing", "stop: ExitInfo"),
            ("k2_no_grace", "Some(0): ExitInfo"),
            ("k2_of_an_exited_one", "ExitInfo { exit-code: None, signal: Some(15) }"),
        ],
    ),
    row(
        "stop is a kill",
        &[
            ("k2_stopped_child_hears_term", "signal: Some(9)"),
            ("k2_term_then_kill", "one that heeds TERM"),
            ("k2_two_at_once", "signal: Some(9)|ErrorCode::Closed"),
        ],
    ),
    row("stop leaves the id", &[("k2_of_an_exited_one", "afterwards: Ok(")]),
    row(
        "stop does nothing",
        &[("b3_after_a_stop", "after stop something of first runs")],
    ),
    row(
        "kill says again that it killed",
        &[("k3_kill_of_a_handle", "the second: KillResult")],
    ),
    row(
        "kill loses the output",
        &[
            ("k3_kill_of_a_handle", "its output: KillResult"),
            ("k3_of_an_attached_one", "stdout: \"\""),
        ],
    ),
    row(
        "kill releases",
        &[("k3_of_an_attached_one", "unexpected ErrorCode::NoSuchProcess")],
    ),
    never(
        "a signal goes to the command only",
        &[("k1_to_the_group", "HUP: it did not come")],
    ),
    row(
        "stop has half the grace",
        &[("k2_term_then_kill", "it was killed before its grace was over")],
    ),
    row(
        "an id is unknown when it was released",
        &[("k4_release", "unexpected ErrorCode::NoSuchProcess")],
    ),
    row(
        "a release does nothing",
        &[
            ("k4_release", "live: Ok(())"),
            ("q2_of_the_whole_registry", "unexpected ErrorCode::RegistryFull"),
            ("q2_retained_ids", "unexpected ErrorCode::RegistryFull"),
            ("q3_ring_memory", "a release gave nothing back"),
        ],
    ),
    // Timers.
    never(
        "the settings are forgotten",
        &[("t1_clamped", "its end: it did not come")],
    ),
    row(
        "a lifetime is half as long",
        &[
            ("t1_lifetime", "it ended after"),
            ("t4_never_early_in_any_order", "one ended before its time"),
        ],
    ),
    row(
        "a call in flight is idle",
        &[("t2_a_call_in_flight_is_not_idle", "in the middle of a wait")],
    ),
    row(
        "nothing touches a process",
        &[
            ("t2_handles_touch", "attach did not touch it"),
            ("t2_what_touches", "read-logs did not touch it"),
        ],
    ),
    row("status-many touches", &[("t2_what_touches", "status-many touched it")]),
    row(
        "an idle timeout is half as long",
        &[("t2_untouched_ones_end", "it ended after")],
    ),
    row("a retention is ignored", &[("t3_none_at_all", "after its exit: Ok(")]),
    row("a retention is half as long", &[("t3_retention", "ms after its start")]),
    row(
        "a time of 0 is none",
        &[
            ("t1_lifetime", "some(0): Ok("),
            ("t2_untouched_ones_end", "some(0): Ok("),
        ],
    ),
    row(
        "output goes at the exit",
        &[("t3_retention", "its output went before it")],
    ),
    // Quotas.
    row(
        "the settings are forgotten",
        &[
            ("q1_background_counts", "spawn-background: Ok("),
            ("q1_shared_by_all_tiers", "spawn: Ok("),
            ("q2_of_the_whole_registry", "a third: Ok("),
            ("q2_retained_ids", "a fourth: Ok("),
            ("q3_ring_memory", "one that is larger than all: Ok("),
            ("q4_the_embedder_sets_them", "capture-max: Ok("),
            ("r1_ceiling", "None became"),
        ],
    ),
    row(
        "rings may take 256 MiB",
        &[("q3_default", "processes with rings of 8 MiB")],
    ),
    // Handles and pollables.
    row(
        "a dropped handle ends an attached process",
        &[("a1_every_method_of_an_attached_handle", "dropping a handle ended it")],
    ),
    row(
        "a pollable ends with its handle",
        &[(
            "a1_pollables_outlive_their_parents",
            "unexpected ErrorCode::InvalidInput",
        )],
    ),
    row(
        "a wait that times out drains",
        &[("a2_wait_with_output", "stdout: \"more\"")],
    ),
    row("poll returns another order", &[("a3_poll_of_many", "ready are [227")]),
    row(
        "poll names the first ready one only",
        &[("a3_poll_of_many", "ready are [5], and not")],
    ),
    row("poll has no limit", &[("a3_poll_of_many", "257: Ok(")]),
    row("poll of nothing succeeds", &[("a3_poll_of_many", "none: Ok(")]),
    row(
        "poll always names the first",
        &[("a3_poll_wakes_for_its_cause", "1 ended, [0] are ready")],
    ),
    row(
        "a pollable is always ready",
        &[
            ("a3_ready_for_a_reason_only", "before any output: the exit is ready"),
            ("a1_pollables_outlive_their_parents", "ready before anything was"),
        ],
    ),
    row("poll is not cancelled", &[("a4_unloading_cancels", "poll: Ok([])")]),
    row(
        "block is not cancelled",
        &[("a4_unloading_cancels", "block: Ok(())|a later block: Ok(())")],
    ),
    row(
        "a wait that is cancelled has timed out",
        &[("a4_waits_are_cancelled", "the wait: Err(ErrorCode::WaitTimeout)")],
    ),
    row(
        "a sleep is not cancelled",
        &[("a4_waits_are_cancelled", "a later sleep: Ok(())")],
    ),
    row(
        "wait-with-output does not drain",
        &[("a2_wait_with_output", "the second: ProcessResult")],
    ),
    row(
        "status-many finds one at most",
        &[("i3_of_another_principal", "status-many: []")],
    ),
    row(
        "wait-with-output may be without bound",
        &[("x5_handles_may_wait_without_bound", "wait-with-output: Ok(")],
    ),
    row(
        "a handle of a process that is gone says so",
        &[(
            "i3_no_oracle_of_handles_and_events",
            "read-logs after stop: Err(ErrorCode::NoSuchProcess)",
        )],
    ),
    // Events.
    row(
        "the first suffix stays",
        &[("e1_latest_suffix_and_unwatch", "suffix: \"one\"")],
    ),
    row(
        "unwatch does nothing",
        &[("e1_latest_suffix_and_unwatch", "suffix: \"two.three\"")],
    ),
    row("a suffix is not checked", &[("e1_suffixes", "\"\": Ok(()), and not")]),
    row(
        "an event comes twice",
        &[
            ("e2_late_watch_and_once", "2 events for one exit"),
            ("e2_log_ready_is_an_edge", "2 events for 51 lines"),
        ],
    ),
    row("an exit is told without its reason", &[("e2_reasons", "own: {")]),
    row(
        "all receive all events",
        &[("e3_only_the_owner_receives", "another's events")],
    ),
    // This host never starts one.
    never(
        "messages start no interceptor",
        &[("e3_starts_an_interceptor", "the interceptor: it did not come")],
    ),
    row(
        "lost messages are not counted",
        &[("e4_slow_subscribers_are_counted", "0 were counted as dropped")],
    ),
    row(
        "an event has another suffix than the id",
        &[("e1_suffixes", "without a suffix it is \"none\"")],
    ),
    row("an exit is told without its code", &[("e2_reasons", "own: {")]),
    row("a lifetime is told as a kill", &[("e2_reasons", "lifetime: {")]),
    row("idling is told as a lifetime", &[("e2_reasons", "idle: {")]),
    row(
        "messages come in another order",
        &[("e4_slow_subscribers_are_counted", " came after Some(")],
    ),
    // Limits.
    never("limits are ignored", &[("r1_cpu_time", "its end: it did not come")]),
    row(
        "the limit of open files is ignored",
        &[
            ("r1_open_files", "spawn: \""),
            ("r1_strict_mode", "files: accepted and not held"),
        ],
    ),
    row(
        "the limit of processes is ignored",
        &[("r1_processes", "of 30 came to run where 10 may")],
    ),
    row(
        "a tree has more memory than its limit",
        &[
            ("r1_memory", "eight times 40 MB were had"),
            ("r2_the_host_goes_on", "it had 128 MiB"),
        ],
    ),
    row("an end by a limit is told as any other", &[("r2_told_apart", "cpu: {")]),
    // Confinement.
    row(
        "processes have the host's network",
        &[("b1_no_network", "interfaces: |routes: |sockets: |abstract sockets")],
    ),
    row(
        "a folder of the host's is visible",
        &[
            ("b1_no_secrets", "beside the workspace 2 things are visible"),
            ("b1_private_tmp_and_dev", "/tmp holds"),
        ],
    ),
    row(
        "a child sees another's processes",
        &[("b1_own_processes_only", "it sees another spawn's process")],
    ),
    row(
        "a child can write to the system",
        &[("b1_read_only_system", "writable: \"/")],
    ),
    row(
        "processes are not confined",
        &[("b2_what_is_said_is_so", "it says that it confines, and does not")],
    ),
    row(
        "an unload leaves the processes",
        &[("b3_after_unloading", "a process still holds one")],
    ),
    row(
        "an unload ends the processes of all",
        &[("b3_after_unloading", "no process holds three")],
    ),
    row("a pid is that of a zombie", &[("b3_no_zombies", "is a zombie")]),
    row(
        "a child has a descriptor of the host's",
        &[("b4_descriptors", "spawn: \"0")],
    ),
    row("a child has all capabilities", &[("b4_no_capabilities", "CapInh is")]),
    row(
        "a child may gain privileges",
        &[("b4_no_privilege_by_a_file", "no_new_privs is \"1ff")],
    ),
    row(
        "a child ignores a signal",
        &[("b4_signals", "SigIgn is 0000000000000200")],
    ),
    // Files.
    row(
        "injected files are left out",
        &[
            ("j1_env_pointer", "0 bytes arrived, or others"),
            ("j1_fixed_path", "/tmp/given/config.json: ProcessResult"),
            ("j1_refusals", "the name \"\": Ok("),
        ],
    ),
    row(
        "a file that is too large is cut",
        &[("j1_refusals", "8 MiB and a byte: Ok(")],
    ),
    row(
        "a file takes the place of a variable",
        &[("j1_refusals", "a name that the environment has: Ok(")],
    ),
    row(
        "a file is cut to 1000 bytes",
        &[("j1_env_pointer", "1000 bytes arrived, or others")],
    ),
    row("files above 128 are left out", &[("j1_refusals", "129 files: Ok(")]),
    row(
        "a bad shape is denied",
        &[("j1_refusals", "the name \"\": Err(ErrorCode::CapabilityDenied)")],
    ),
    // Audit and metrics.
    row(
        "the audit has no details",
        &[
            ("j1_in_the_audit", "the hash is not in the audit"),
            ("u1_what_stands_in_them", "arg-seen is not in the audit"),
        ],
    ),
    row(
        "the audit leaves refusals out",
        &[("u1_one_record_a_call", "[\"spawn ok\", \"spawn-persistent ok\"")],
    ),
    row(
        "the audit has each record twice",
        &[("u1_one_record_a_call", "[\"spawn ok\", \"spawn ok\"")],
    ),
    row("the audit has no time", &[("u1_one_record_a_call", "its time: {")]),
    row(
        "the audit names another principal",
        &[("u1_one_record_a_call", "its principal: {")],
    ),
    row(
        "the audit names no capsule",
        &[("u1_one_record_a_call", "its capsule: {")],
    ),
    row(
        "the audit holds the environment",
        &[("u1_what_stands_in_them", "value-unseen is in the audit")],
    ),
    row(
        "the audit holds what is written",
        &[("u1_what_stands_in_them", "write-unseen is in the audit")],
    ),
    row("the metrics are empty", &[("u2_figures", "spawned is None")]),
];
