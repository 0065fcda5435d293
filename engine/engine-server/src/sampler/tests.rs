//! What a sampler may and may not choose.

use super::*;

const LOGITS: [f32; 5] = [0.0, 2.0, -1.0, 2.0, 1.0];

fn sampler(sampling: Sampling) -> Sampler {
    Sampler::new(sampling, 7, None)
}

fn drawn(sampling: Sampling, logits: &[f32], times: usize) -> Vec<u32> {
    let mut sampler = sampler(sampling);
    (0..times).map(|_| sampler.choose(logits).unwrap().token).collect()
}

#[test]
fn temperature_zero_takes_the_first_of_the_likeliest() {
    assert_eq!(drawn(Sampling { temperature: 0.0, ..Sampling::default() }, &LOGITS, 3), [1, 1, 1]);
}

#[test]
fn frequencies_follow_the_distribution() {
    let times = 20_000;
    let drawn = drawn(Sampling::default(), &LOGITS, times);
    let total: f32 = LOGITS.iter().map(|logit| logit.exp()).sum();
    for (token, logit) in LOGITS.iter().enumerate() {
        let share = drawn.iter().filter(|drawn| **drawn as usize == token).count() as f32 / times as f32;
        assert!((share - logit.exp() / total).abs() < 0.015, "token {token}: {share}");
    }
}

#[test]
fn a_low_temperature_sharpens_and_a_high_one_flattens() {
    let best = |temperature| {
        let drawn = drawn(Sampling { temperature, ..Sampling::default() }, &LOGITS, 4000);
        drawn.iter().filter(|token| [1, 3].contains(token)).count()
    };
    assert!(best(0.3) > best(1.0) && best(1.0) > best(2.0));
}

#[test]
fn top_k_keeps_the_likeliest_and_the_first_of_equals() {
    let tokens = drawn(Sampling { top_k: Some(3), ..Sampling::default() }, &LOGITS, 500);
    assert!(tokens.iter().all(|token| [1, 3, 4].contains(token)));
    let tokens = drawn(Sampling { top_k: Some(1), ..Sampling::default() }, &LOGITS, 50);
    assert!(tokens.iter().all(|token| *token == 1));
}

#[test]
fn top_p_keeps_the_smallest_set_that_reaches_it() {
    // Shares: 0.39, 0.39, 0.14, 0.05, 0.02.
    let tokens = |top_p| drawn(Sampling { top_p, ..Sampling::default() }, &LOGITS, 2000);
    assert!(tokens(0.0).iter().all(|token| *token == 1));
    assert!(tokens(0.5).iter().all(|token| [1, 3].contains(token)));
    let wide = tokens(0.9);
    assert!(wide.contains(&4) && !wide.contains(&0) && !wide.contains(&2));
}

#[test]
fn the_same_seed_draws_the_same_and_another_does_not() {
    let seeded = |seed| drawn(Sampling { seed: Some(seed), ..Sampling::default() }, &LOGITS, 40);
    assert_eq!(seeded(1), seeded(1));
    assert_ne!(seeded(1), seeded(2));
}

#[test]
fn logprobs_are_those_of_the_whole_distribution() {
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    let logprobs = Sampler::new(sampling, 0, Some(3)).choose(&LOGITS).unwrap().logprobs.unwrap();
    let total: f32 = LOGITS.iter().map(|logit| logit.exp()).sum();
    assert!((logprobs.chosen - (2.0 - total.ln())).abs() < 1e-6);
    assert_eq!(logprobs.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 3, 4]);
    let all = Sampler::new(sampling, 0, Some(20)).choose(&LOGITS).unwrap().logprobs.unwrap();
    let sum: f32 = all.top.iter().map(|(_, logprob)| logprob.exp()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    assert_eq!(Sampler::new(sampling, 0, Some(0)).choose(&LOGITS).unwrap().logprobs.unwrap().top, []);
}

#[test]
fn numbers_win_over_what_is_none_and_nothing_is_chosen_from_nothing() {
    let nan = f32::NAN;
    for temperature in [0.0, 1.0] {
        let sampling = Sampling { temperature, ..Sampling::default() };
        assert_eq!(sampler(sampling).choose(&[nan, -3.0, nan]).unwrap().token, 1);
        assert_eq!(sampler(sampling).choose(&[nan, f32::NEG_INFINITY]), None);
    }
}
