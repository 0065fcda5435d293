//! `headworks policy check`: loads a component as the proxy would and says what it is, or why it is refused.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use policy_api::{Description, Hook, Mode, Policy};
use policy_runtime::{Component, Limits, LoadError, Runtime, Shape};
use policy_simulator::{VirtualHost, cached_runtime};
use serde_json::{Value, json};

use crate::input::{self, ComponentArgs};

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    component: ComponentArgs,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// What is known of a component; each part is there as far as loading came.
struct Report {
    file: String,
    bytes: usize,
    config: String,
    compiled: Option<(Shape, Duration)>,
    loaded: Option<(Component, Duration)>,
    refusal: Option<LoadError>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { component: ComponentArgs { file, config }, json } = args;
    let runtime =
        cached_runtime(Limits::default(), Arc::new(VirtualHost::default()), 0).context("start the runtime")?;
    let report = check(&runtime, file.display().to_string(), &input::component(file)?, config.json()?);
    let text = if *json { format!("{:#}\n", report.as_json()) } else { report.as_text() };
    print!("{text}");
    match report.refusal {
        None => Ok(()),
        Some(refusal) => Err(anyhow::Error::new(refusal).context(format!("{} is refused", report.file))),
    }
}

fn check(runtime: &Runtime, file: String, component: &[u8], config: String) -> Report {
    let mut report = Report { file, bytes: component.len(), config, compiled: None, loaded: None, refusal: None };
    let began = Instant::now();
    match runtime.inspect(component) {
        Ok(shape) => report.compiled = Some((shape, began.elapsed())),
        Err(refusal) => return Report { refusal: Some(refusal), ..report },
    }
    let began = Instant::now();
    match runtime.load("check", component, &report.config, None) {
        Ok(component) => report.loaded = Some((component, began.elapsed())),
        Err(refusal) => report.refusal = Some(refusal),
    }
    report
}

impl Report {
    fn as_text(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: &str| {
            writeln!(text, "{name:<12}{value}").expect("a String takes everything");
        };
        row("component", &format!("{}, {}", self.file, size(self.bytes)));
        if let Some((shape, took)) = &self.compiled {
            row("imports", &or_none(&short(&shape.imports)));
            row("exports", &or_none(&short(&shape.exports)));
            let how = if shape.was_compiled_before() { "before; read in" } else { "in" };
            row("compiled", &format!("{how} {} ms", ms(*took)));
        }
        if let Some((component, took)) = &self.loaded {
            let Description { name, version, hooks, mode, config_schema } = component.describe();
            row("policy", &format!("{name} {version}"));
            row("digest", component.digest());
            row("hooks", &hooks.iter().map(|hook| hook_word(*hook)).collect::<Vec<_>>().join(", "));
            row("mode", mode_word(*mode));
            row("config", &self.config);
            row("self-check", &format!("passed; tried out and made ready in {} ms", ms(*took)));
            match pretty(config_schema) {
                None => row("schema", "none: it takes no configuration"),
                Some(schema) => row("schema", &schema.replace('\n', "\n            ")),
            }
        }
        text
    }

    fn as_json(&self) -> Value {
        let mut report = json!({ "file": self.file, "bytes": self.bytes, "accepted": self.loaded.is_some() });
        if let Some((shape, took)) = &self.compiled {
            report["imports"] = json!(shape.imports);
            report["exports"] = json!(shape.exports);
            report["compiled_before"] = json!(shape.was_compiled_before());
            report["compile_ms"] = json!(ms(*took));
        }
        if let Some((component, took)) = &self.loaded {
            let Description { name, version, hooks, mode, config_schema } = component.describe();
            report["name"] = json!(name);
            report["version"] = json!(version);
            report["digest"] = json!(component.digest());
            report["hooks"] = hooks.iter().map(|hook| hook_word(*hook)).collect();
            report["mode"] = json!(mode_word(*mode));
            report["config_schema"] = serde_json::from_str(config_schema).unwrap_or(Value::Null);
            report["load_ms"] = json!(ms(*took));
        }
        if let Some(refusal) = &self.refusal {
            report["refusal"] = json!(refusal.to_string());
        }
        report
    }
}

/// Interfaces of the contract by their bare names, others in full.
fn short(names: &[String]) -> String {
    let bare = |name: &String| {
        let ours = name.strip_prefix("headworks:policy/").and_then(|rest| rest.split_once('@'));
        ours.map_or(name.clone(), |(interface, _)| interface.to_owned())
    };
    names.iter().map(bare).collect::<Vec<_>>().join(", ")
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { text.to_owned() }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e4).round() / 10.0
}

fn pretty(schema: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(schema).ok()?;
    Some(format!("{schema:#}"))
}

pub(crate) fn hook_word(hook: Hook) -> &'static str {
    match hook {
        Hook::Configure => "configure",
        Hook::Admit => "admit",
        Hook::Place => "place",
        Hook::Observe => "observe",
        Hook::Snapshot => "snapshot",
    }
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Pooled => "pooled",
        Mode::Single => "single",
    }
}
