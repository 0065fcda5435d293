//! A simulator of policies over fleets: discrete events around the real dispatch.
