//! What `--help` says, and that a wrong command line is answered with advice.

use crate::processes::headworks;

fn said(words: &[&str]) -> String {
    let output = headworks().args(words).output().unwrap();
    String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr }).into_owned()
}

#[test]
fn every_verb_explains_itself() {
    let verbs: [&[&str]; 7] =
        [&[], &["demo"], &["proxy"], &["engine"], &["model", "synth"], &["bench", "load"], &["policy"]];
    for verb in verbs {
        let mut words = verb.to_vec();
        words.push("--help");
        let name = if verb.is_empty() { "headworks".to_owned() } else { verb.join("_") };
        insta::assert_snapshot!(format!("help_{name}"), said(&words));
    }
}

#[test]
fn a_missing_configuration_is_one_sentence() {
    insta::assert_snapshot!(said(&["proxy", "--config", "absent.toml"]));
}

#[test]
fn a_missing_model_is_one_sentence() {
    insta::assert_snapshot!(said(&["engine", "--model", "absent-model", "--listen", "127.0.0.1:0"]));
}
