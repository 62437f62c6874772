//! Cooperation.

/// Lets others run.
pub async fn consume_budget() {
    super::let_others_run();
}

/// The same.
pub async fn yield_now() {
    super::let_others_run();
}
