//! engine-backend
