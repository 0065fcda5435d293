//! `headworks policy record`: has a proxy write down what its policies see and answer, for replay and explain.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::admin::{Admin, AdminArgs};
use crate::shown::word;

/// What to do with the proxy's recording. Without any of these its state is shown
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The proxy writes the recording into the folder that [recording] of its configuration names. Then:\n\n  \
    headworks policy replay FILE                 the recorded decisions again, bit for bit\n  \
    headworks policy explain ID                  what the policies saw of one of them"
)]
pub struct Args {
    /// Begin a recording, end it after so long, and say where it is
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600), group = "what")]
    seconds: Option<u64>,
    /// Begin a recording
    #[arg(long, group = "what")]
    begin: bool,
    /// End the recording
    #[arg(long, group = "what")]
    end: bool,
    /// Record prompts too; without it the proxy's configuration says whether
    #[arg(long, conflicts_with = "end")]
    prompts: bool,
    /// Fetch the recording into this file, once it has ended
    #[arg(long, value_name = "FILE", conflicts_with = "begin")]
    out: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
}

const PATH: &str = "/admin/v1/recording";

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { seconds, begin, end, prompts, out, admin } = args;
    if *prompts && seconds.is_none() && !begin {
        bail!("--prompts says what a recording has in it; give it with --seconds or --begin");
    }
    let out = out.as_deref().map(NewFile::create).transpose()?;
    let proxy = admin.connect()?;
    let begun = || proxy.post(PATH, &if *prompts { json!({"on": true, "prompts": true}) } else { json!({"on": true}) });
    let ended = || proxy.post(PATH, &json!({"on": false}));
    let state = match (seconds, begin, end) {
        (Some(seconds), ..) => {
            begun()?;
            eprintln!(
                "recording for {seconds} s; if this is stopped, `headworks policy record --end` ends the recording"
            );
            thread::sleep(Duration::from_secs(*seconds));
            ended()?
        }
        (None, true, _) => begun()?,
        (None, false, true) => ended()?,
        (None, false, false) => proxy.get(PATH)?,
    };
    let fetched = out.map(|out| out.fetch(&proxy, &state)).transpose()?;
    match admin.json {
        true => println!("{state:#}"),
        false => print!("{}", as_text(&state, fetched.as_deref())),
    }
    Ok(())
}

/// A file that is not there yet. Made before anything is recorded: that it cannot be is better known at once.
struct NewFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> NewFile<'a> {
    fn create(path: &'a Path) -> anyhow::Result<NewFile<'a>> {
        let file = File::create_new(path)
            .with_context(|| format!("make {}; a recording is not written over another file", path.display()))?;
        Ok(NewFile { path, file })
    }

    fn fetch(self, proxy: &Admin, state: &Value) -> anyhow::Result<String> {
        let NewFile { path, mut file } = self;
        let bytes_max =
            state["bytes_max"].as_u64().unwrap_or_default().max(state["bytes"].as_u64().unwrap_or_default());
        let fetched = proxy.get_into(&format!("{PATH}/file"), &mut file, bytes_max).and_then(|bytes| {
            file.flush().with_context(|| format!("write {}", path.display()))?;
            Ok(format!("{}, {bytes} bytes", path.display()))
        });
        if fetched.is_err() {
            // The error that is told is the first one.
            let _ = std::fs::remove_file(path);
        }
        fetched
    }
}

fn as_text(state: &Value, fetched: Option<&str>) -> String {
    let mut text = match (state["on"].as_bool().unwrap_or_default(), &state["file"]) {
        (true, file) => format!("recording into {} of the proxy's machine\n", word(file)),
        (false, Value::Null) => "nothing was recorded since the proxy began\n".to_owned(),
        (false, file) => format!("recorded into {} of the proxy's machine\n", word(file)),
    };
    if !state["file"].is_null() {
        let with = if state["prompts"].as_bool().unwrap_or_default() { "with prompts" } else { "without prompts" };
        let (calls, bytes, bytes_max) = (word(&state["calls"]), word(&state["bytes"]), word(&state["bytes_max"]));
        text.push_str(&format!("{calls} calls, {bytes} of at most {bytes_max} bytes, {with}\n"));
        match state["dropped"].as_u64() {
            None | Some(0) => {}
            Some(dropped) => text.push_str(&format!("{dropped} calls came too fast and are missing\n")),
        }
    }
    if let Some(fetched) = fetched {
        text.push_str(&format!("fetched: {fetched}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recordings_state_is_told() {
        let state = |on: bool, file: Value, dropped: u64| json!({ "on": on, "file": file, "prompts": on, "bytes": 700, "bytes_max": 9000, "calls": 3, "dropped": dropped });
        let told = [
            as_text(&state(false, Value::Null, 0), None),
            as_text(&state(true, json!("recordings/1.jsonl"), 0), None),
            as_text(&state(false, json!("recordings/1.jsonl"), 2), Some("here.jsonl, 700 bytes")),
        ];
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn no_file_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("there.jsonl");
        std::fs::write(&path, "mine").unwrap();
        let refused = NewFile::create(&path).err().unwrap();
        assert!(format!("{refused:#}").contains("not written over another file"), "{refused:#}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
