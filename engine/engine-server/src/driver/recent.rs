//! Moving averages of what lately happened, for those who choose where to send the next request.

use std::time::Duration;

use super::View;

/// How much one more request counts against all before it.
const WEIGHT: f64 = 0.1;

/// The averages.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    ttft_us: Option<f64>,
    tpot_us: Option<f64>,
    /// Prompt tokens, older ones counting less.
    prompt_tokens: f64,
    cached_tokens: f64,
}

impl Recent {
    pub fn first_token(&mut self, ttft: Duration) {
        average(&mut self.ttft_us, ttft);
    }

    pub fn time_per_token(&mut self, tpot: Duration) {
        average(&mut self.tpot_us, tpot);
    }

    /// A prompt began to run.
    pub fn prompt(&mut self, tokens: u32, cached: u32) {
        self.prompt_tokens = self.prompt_tokens * (1.0 - WEIGHT) + f64::from(tokens);
        self.cached_tokens = self.cached_tokens * (1.0 - WEIGHT) + f64::from(cached);
    }

    /// The averages in a view's units; the rest of it is empty.
    pub fn view(&self) -> View {
        let hits = if self.prompt_tokens > 0.0 { self.cached_tokens / self.prompt_tokens } else { 0.0 };
        View {
            ttft_us: self.ttft_us.unwrap_or(0.0).round() as u32,
            tpot_us: self.tpot_us.unwrap_or(0.0).round() as u32,
            prefix_hit_permille: (hits * 1000.0).round() as u32,
            ..View::default()
        }
    }
}

fn average(average: &mut Option<f64>, latest: Duration) {
    let latest = latest.as_secs_f64() * 1e6;
    *average = Some(average.map_or(latest, |before| before + WEIGHT * (latest - before)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_is_the_average_and_later_ones_move_it() {
        let mut recent = Recent::default();
        recent.first_token(Duration::from_micros(100));
        assert_eq!(recent.view().ttft_us, 100);
        recent.first_token(Duration::from_micros(200));
        assert_eq!((recent.view().ttft_us, recent.view().tpot_us), (110, 0));
    }

    #[test]
    fn hits_are_weighed_by_tokens() {
        let mut recent = Recent::default();
        assert_eq!(recent.view().prefix_hit_permille, 0);
        recent.prompt(10, 0);
        recent.prompt(990, 495);
        assert_eq!(recent.view().prefix_hit_permille, 495_000 / 999);
    }
}
