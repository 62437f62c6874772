//! Cooperation.

/// Lets others run.
pub async fn consume_budget() {
    super::let_others_run();
}
