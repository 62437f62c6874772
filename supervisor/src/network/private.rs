//! One private network: its namespace, and what the host does in it. It ends when the last tree that holds it has ended.

use std::sync::Arc;

use crate::os::network::{Namespace, NewNetwork};

/// A private network that trees of one owner share.
#[derive(Debug)]
pub struct PrivateNetwork {
    namespace: Arc<Namespace>,
}

impl PrivateNetwork {
    pub(crate) fn new(made: NewNetwork) -> Self {
        Self {
            namespace: made.namespace,
        }
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}
