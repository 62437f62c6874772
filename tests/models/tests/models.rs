//! Every scenario, in random orders and in orders that delay few tasks for long.
//!
//! Random scheduling finds faults that need many switches between tasks. The other scheduler, which uses priorities and
//! changes them seldom, finds faults that need one long pause.

use capsule_models::scenarios::{life, output, stdin};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

const RUNS: usize = 1500;

fn check(scenario: fn()) {
    let mut config = Config::new();
    // Far more steps than any of them needs. A longer run waits for an event that never comes.
    config.max_steps = shuttle::MaxSteps::FailAfter(100_000);
    Runner::new(RandomScheduler::new(RUNS), config.clone()).run(scenario);
    Runner::new(PctScheduler::new(3, RUNS), config).run(scenario);
}

macro_rules! scenarios {
    ($($module:ident: $($name:ident)*;)*) => {
        $($(
            #[test]
            fn $name() {
                check($module::$name);
            }
        )*)*
    };
}

scenarios! {
    life:
        k1_k2_k4_every_call_to_an_ending_process_is_answered
        e2_an_exit_is_told_once_however_late_the_subscription
        x4_t3_who_waited_sees_an_exit_that_is_not_kept
        n3_a2_an_end_ends_everything_that_waits
        b3_k2_a_shutdown_ends_what_is_deaf
        s9_b3_an_unloaded_capsule_leaves_nothing;
    output:
        l6_a_reader_loses_nothing_of_a_full_ring
        l1_l4_what_is_drained_is_not_read_and_nothing_is_unaccounted_for
        l5_the_newest_bytes_are_retained
        x3_a_full_ring_settles_and_is_emptied_later
        x3_a_pipe_that_others_hold_ends_by_the_drain_time
        k2_a_closed_stream_ends_every_wait
        a2_k3_what_a_tree_wrote_is_drained_to_its_end
        b3_a2_a_drain_ends_with_the_reader
        e2_log_ready_comes_once_for_each_change_from_empty;
    stdin:
        n1_n2_n4_writes_are_whole_and_end_of_file_follows_them
        n3_a_child_that_reads_no_more_ends_every_write
        n3_a_broken_pipe_ends_every_write
        b3_every_write_ends_with_the_writing_task
        n4_a_caller_that_goes_away_tears_nothing;
}
