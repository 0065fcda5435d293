//! The scheduler's bounds.

/// Whether a prompt's beginning may come from blocks that earlier sequences filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrefixCaching {
    /// Every token is computed.
    Off,
    /// Equal prefixes are computed once.
    #[default]
    On,
}

/// The scheduler's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Most tokens one step computes; not less than `running_max`, so that a full batch always moves on.
    pub step_tokens_max: u32,
    /// Most sequences in the running batch.
    pub running_max: u32,
    /// Most sequences that wait for it.
    pub waiting_max: u32,
    /// Whether equal prefixes are computed once.
    pub prefix_caching: PrefixCaching,
}

impl Default for SchedulerConfig {
    fn default() -> SchedulerConfig {
        SchedulerConfig { step_tokens_max: 512, running_max: 64, waiting_max: 256, prefix_caching: PrefixCaching::On }
    }
}
