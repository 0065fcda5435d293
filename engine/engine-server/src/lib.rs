//! engine-server
