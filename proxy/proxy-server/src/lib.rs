//! proxy-server
