//! `headworks policy list | activate | promote | rollback | config`: what runs in a proxy's slots, and which version.

use serde_json::{Value, json};

use crate::admin::{AdminArgs, Sent, slot_path};
use crate::{input, shown};

/// Which proxy's slots.
#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    admin: AdminArgs,
}

/// Which version of which slot.
#[derive(Debug, clap::Args)]
pub struct Activate {
    /// The slot
    slot: String,
    /// The number of a version that is kept, as `list` shows it
    version: u32,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Which slot.
#[derive(Debug, clap::Args)]
pub struct Change {
    /// The slot
    slot: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Which slot's configuration, and what it shall be.
#[derive(Debug, clap::Args)]
pub struct Config {
    /// The slot
    slot: String,
    /// Configure the active component anew: a JSON object, or @FILE with one
    #[arg(long, value_name = "JSON|@FILE")]
    set: Option<String>,
    /// Give the new configuration to a canary, with this share of the requests
    #[arg(long, value_name = "PERCENT", requires = "set", value_parser = clap::value_parser!(u8).range(1..=99))]
    canary: Option<u8>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(crate) fn list(args: &List) -> anyhow::Result<()> {
    let policies = args.admin.connect()?.get("/admin/v1/policies")?;
    match args.admin.json {
        true => println!("{policies:#}"),
        false => print!("{}", shown::policies(&policies)),
    }
    Ok(())
}

pub(crate) fn activate(args: &Activate) -> anyhow::Result<()> {
    let Activate { slot, version, admin } = args;
    let changed = admin.connect()?.post(&slot_path(slot, "/activate", None), &json!({ "version": version }))?;
    shown::slot(&changed, admin.json);
    Ok(())
}

pub(crate) fn promote(args: &Change) -> anyhow::Result<()> {
    change(args, "/promote")
}

pub(crate) fn roll_back(args: &Change) -> anyhow::Result<()> {
    change(args, "/rollback")
}

fn change(args: &Change, verb: &str) -> anyhow::Result<()> {
    let changed = args.admin.connect()?.post(&slot_path(&args.slot, verb, None), &Value::Null)?;
    shown::slot(&changed, args.admin.json);
    Ok(())
}

pub(crate) fn config(args: &Config) -> anyhow::Result<()> {
    let Config { slot, set, canary, admin } = args;
    let proxy = admin.connect()?;
    let path = slot_path(slot, "/config", *canary);
    match set {
        None => println!("{:#}", proxy.get(&path)?),
        Some(text) => {
            let json = input::config_json(text)?;
            let changed = proxy.put(&path, &Sent { body: json.as_bytes(), signature: None })?;
            shown::slot(&changed, admin.json);
        }
    }
    Ok(())
}
