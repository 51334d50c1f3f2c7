//! What the scheduler and the bounces share.

use std::sync::Arc;

use super::deliver::Deliverer;
use crate::queue::settings::QueueSettings;

/// What deliveries work with; replaced as a whole on reload.
pub struct Plan<S, R> {
    /// Delivers a lease.
    pub deliverer: Deliverer<S, R>,
    /// Back-off and lifetimes.
    pub queue: Arc<QueueSettings>,
}
