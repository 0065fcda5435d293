//! `headworks policy simulate`: plays a scenario with policies side by side.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use policy_api::{Description, Policy};
use policy_simulator::{
    Contender, Report, Scenario, Source, VirtualHost, cached_runtime, simulate, table, virtual_limits,
};

use crate::input;

/// What to simulate.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The scenario, a TOML file such as those of benches/scenarios
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// A policy to compare: a component, with its configuration after a colon where it takes one, as in
    /// least-load.wasm:{"scan":"all"} or policy.wasm:@config.json. Several with commas between make one chain. Give it
    /// several times to compare several
    #[arg(long = "policy", value_name = "FILE.wasm[:CONFIG][,…]")]
    policies: Vec<String>,
    /// A seed in place of the scenario's
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Print the reports as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { scenario, policies, seed, json } = args;
    let mut scenario = Scenario::load(scenario)?;
    scenario.seed = seed.unwrap_or(scenario.seed);
    let asked = policies.iter().map(|spec| Asked::load(spec)).collect::<anyhow::Result<Vec<_>>>()?;
    let contenders: Vec<Contender> = std::iter::once(Contender::fallback()).chain(contenders(asked)).collect();
    let reports = contenders
        .iter()
        .map(|contender| simulate(&scenario, contender).with_context(|| format!("load {}", contender.name)))
        .collect::<anyhow::Result<Vec<Report>>>()?;
    if *json {
        println!("{}", serde_json::to_string_pretty(&reports).context("write the reports")?);
    } else {
        println!("{}, seed {}\n", scenario.name, scenario.seed);
        print!("{}", table(&reports));
        for Report { contender, first_fault, .. } in &reports {
            if let Some(fault) = first_fault {
                println!("{contender}: the first fault: {fault}");
            }
        }
    }
    Ok(())
}

/// A chain as it was asked for.
struct Asked {
    /// Its policies as they name themselves, with their configurations.
    title: String,
    /// As it was written.
    spec: String,
    policies: Vec<Source>,
}

impl Asked {
    fn load(spec: &str) -> anyhow::Result<Asked> {
        let runtime = cached_runtime(virtual_limits(), Arc::new(VirtualHost::default()), 0)?;
        let (mut titles, mut policies) = (Vec::new(), Vec::new());
        for part in parts(spec) {
            let Part { file, config } = Part::of(part);
            if file.is_empty() {
                bail!("--policy {spec:?}: there is a part without a file");
            }
            let bytes = input::component(Path::new(file))?;
            let config_json = config.map(input::config_json).transpose()?.unwrap_or_default();
            let component =
                runtime.load("title", &bytes, &config_json, None).with_context(|| format!("load {file}"))?;
            let Description { name, version, .. } = component.describe();
            titles.push(config.map_or(format!("{name} {version}"), |config| format!("{name} {version} {config}")));
            policies.push(Source::Component { bytes: bytes.into(), config_json });
        }
        Ok(Asked { title: titles.join(" + "), spec: spec.to_owned(), policies })
    }
}

/// Each under its title; two of one title under what was written, too.
fn contenders(asked: Vec<Asked>) -> Vec<Contender> {
    let titles: Vec<String> = asked.iter().map(|asked| asked.title.clone()).collect();
    let named = |Asked { title, spec, policies }: Asked| {
        let is_alone = titles.iter().filter(|other| **other == title).count() == 1;
        let name = if is_alone { title } else { format!("{title} ({spec})") };
        Contender { name, policies }
    };
    asked.into_iter().map(named).collect()
}

/// One policy as it is written.
#[derive(Debug, PartialEq)]
struct Part<'a> {
    file: &'a str,
    config: Option<&'a str>,
}

impl<'a> Part<'a> {
    fn of(text: &'a str) -> Part<'a> {
        let colon = [":{", ":@"].iter().filter_map(|mark| text.find(mark)).min();
        match colon {
            None => Part { file: text, config: None },
            Some(at) => Part { file: &text[..at], config: Some(&text[at + 1..]) },
        }
    }
}

/// Splits at commas, but for those of a configuration.
fn parts(spec: &str) -> Vec<&str> {
    let (mut depth, mut in_string, mut escaped, mut begins) = (0_u32, false, false, 0);
    let mut parts = Vec::new();
    for (at, char) in spec.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' if depth > 0 => in_string = !in_string,
            _ if in_string => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&spec[begins..at]);
                begins = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&spec[begins..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spec: &str, wanted: &[(&str, Option<&str>)]) {
        let found: Vec<Part<'_>> = parts(spec).into_iter().map(Part::of).collect();
        let wanted: Vec<Part<'_>> = wanted.iter().map(|(file, config)| Part { file, config: *config }).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_chain_is_its_files_and_their_configurations() {
        check("a.wasm", &[("a.wasm", None)]);
        check("a.wasm,b.wasm", &[("a.wasm", None), ("b.wasm", None)]);
        check(
            r#"a.wasm:{"x":[1,2],"y":"}, {"},b.wasm:@c.json"#,
            &[("a.wasm", Some(r#"{"x":[1,2],"y":"}, {"}"#)), ("b.wasm", Some("@c.json"))],
        );
    }

    #[test]
    fn a_part_without_a_file_is_refused() {
        let refused = |spec: &str| Asked::load(spec).err().unwrap().to_string();
        assert!(refused("absent.wasm,").contains("absent.wasm"));
        assert!(refused("").contains("without a file"));
    }

    #[test]
    fn two_of_one_title_are_told_apart_by_their_files() {
        let asked = |title: &str, spec: &str| {
            let (title, spec) = (title.to_owned(), spec.to_owned());
            Asked { title, spec, policies: Vec::new() }
        };
        let named = contenders(vec![asked("a 1", "old.wasm"), asked("b 1", "b.wasm"), asked("a 1", "new.wasm")]);
        let names: Vec<&str> = named.iter().map(|contender| contender.name.as_str()).collect();
        assert_eq!(names, ["a 1 (old.wasm)", "b 1", "a 1 (new.wasm)"]);
    }
}
