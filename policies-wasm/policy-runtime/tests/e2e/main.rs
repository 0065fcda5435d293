//! The shipped components, as built, in the real runtime; and what strangers may hand it.

#[cfg(test)]
mod affinity;
#[cfg(test)]
mod chained;
#[cfg(test)]
mod every;
#[cfg(test)]
mod fair_share;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod prefixes;
#[cfg(test)]
mod rate_limit;
#[cfg(test)]
mod recorder;
#[cfg(test)]
mod regions;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod shipped;
#[cfg(test)]
mod support;
