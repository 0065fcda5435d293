//! A simulator of policies over fleets: discrete events around the real dispatch.
//!
//! A [`Scenario`] says who asks what of which fleet; a [`Contender`] is a chain of policies; [`simulate`] plays the one
//! against the other in virtual time and gives a [`Report`]. The chain, the components and each replica's scheduler and
//! KV cache are the real ones; only clients, the network and the time of a step are made up. One seed, one report.

mod cache;
mod contender;
mod cost;
mod events;
mod host;
mod proxy;
mod replica;
mod report;
mod scenario;
mod text;
mod workload;
mod world;

pub use cache::cached_runtime;
pub use contender::{Contender, Source, virtual_limits};
pub use cost::Cost;
pub use host::{VirtualHost, Written};
pub use report::{Percentiles, Report, table};
pub use scenario::{
    Change, Condition, Fleet, Prompts, ProxyShape, ReplicaShape, Scenario, ScenarioError, Simulate, Tenant, Traffic,
};

/// Plays a scenario with a contender's chain in every region's proxy.
pub fn simulate(scenario: &Scenario, contender: &Contender) -> Result<Report, policy_runtime::LoadError> {
    Ok(world::World::new(scenario, contender)?.run())
}
