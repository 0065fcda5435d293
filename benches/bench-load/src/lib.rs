//! bench-load
