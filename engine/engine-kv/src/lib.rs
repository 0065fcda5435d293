//! engine-kv
