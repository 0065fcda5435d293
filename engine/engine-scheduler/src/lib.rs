//! engine-scheduler
