//! Samples the sides of a case in turn, through criterion, and takes medians.
//!
//! Time is that of the thread on its core. Other work on the machine is seen in the caches all the same, and comes and
//! goes within seconds: sides that take turns see the same of it, and a median leaves out what only a few samples saw.

use std::time::Duration;

use criterion::Criterion;

/// Rounds in which each side is sampled.
const ROUNDS: usize = 3;
/// Samples shorter than this measure the clock.
const SAMPLE_NS_MIN: f64 = 50_000.0;

/// Does something so many times, and says how long that took on a core.
pub type Side<'a> = &'a mut dyn FnMut(u64) -> Duration;

/// Draws samples.
pub struct Sampler {
    criterion: Criterion,
}

impl Sampler {
    /// With the flags of the command line: `--bench`, a filter.
    pub fn of_arguments() -> Sampler {
        let criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_millis(600))
            .nresamples(1000)
            .without_plots()
            .configure_from_args();
        Sampler { criterion }
    }

    /// The median time of each side in nanoseconds.
    pub fn medians<const N: usize>(&mut self, case: &str, sides: [(&str, Side<'_>); N]) -> [f64; N] {
        let mut sides = sides;
        let mut samples: [Vec<f64>; N] = [const { Vec::new() }; N];
        for round in 1..=ROUNDS {
            for ((name, side), samples) in sides.iter_mut().zip(&mut samples) {
                self.criterion.bench_function(&format!("{case}/{name}/{round}"), |bencher| {
                    bencher.iter_custom(|times| {
                        let took = side(times);
                        if took.as_nanos() as f64 >= SAMPLE_NS_MIN {
                            samples.push(took.as_nanos() as f64 / times as f64);
                        }
                        took
                    });
                });
            }
        }
        samples.map(median)
    }
}

/// The middle one; 0 of none.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_slow_samples_do_not_move_the_median() {
        assert_eq!(median(vec![3.0, 900.0, 1.0, 2.0, 800.0]), 3.0);
        assert_eq!(median(vec![]), 0.0);
    }
}
