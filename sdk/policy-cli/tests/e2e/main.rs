//! What an author does, with the real tools: a policy is made, built and loaded in each language.

#![expect(clippy::unwrap_used, reason = "a test ends where its helper cannot go on")]

mod author;
mod guide;
mod languages;
mod mistakes;
