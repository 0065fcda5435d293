//! Debian's `docker-registry` on a port of its own: a real one, to push to and pull from.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::http;
use crate::processes::{folder, tool, wait_for};

/// A registry. Ends when dropped.
pub struct Registry {
    process: Child,
    dir: tempfile::TempDir,
    /// Host and port.
    pub address: String,
}

impl Registry {
    /// One that lets everybody in.
    #[track_caller]
    pub fn open() -> Registry {
        Registry::start("")
    }

    /// One that wants a user and a password.
    #[track_caller]
    pub fn locked() -> Registry {
        // bcrypt of "secret".
        let users = "robot:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
        Registry::start(users)
    }

    #[track_caller]
    fn start(users: &str) -> Registry {
        let dir = folder();
        let users_file = dir.path().join("users");
        std::fs::write(&users_file, users).unwrap();
        let auth = if users.is_empty() {
            String::new()
        } else {
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users_file.display())
        };
        let config = dir.path().join("registry.yml");
        // It takes a free port itself and says which: nobody else can take it in between.
        let text = format!(
            "version: 0.1\nlog:\n  level: info\n  formatter: json\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\n{auth}",
            dir.path().join("blobs").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new(tool("HEADWORKS_TEST_REGISTRY"))
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let address = listens(&mut process);
        let registry = Registry { process, dir, address };
        wait_for("the registry to answer", || {
            matches!(http::get(&format!("http://{}/v2/", registry.address)).status, 200 | 401).then_some(())
        });
        registry
    }

    /// A reference to one of its artefacts.
    pub fn reference(&self, name_and_version: &str) -> String {
        format!("{}/{name_and_version}", self.address)
    }

    /// The file in which it keeps a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.dir.path().join("blobs/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

/// The address that it logs, with the port it got.
#[track_caller]
fn listens(process: &mut Child) -> String {
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("listening on ").or_else(|| {
            said.push(line.clone());
            None
        })?;
        Some(rest.chars().take_while(|char| char.is_ascii_digit() || ".:".contains(*char)).collect::<String>())
    });
    // Somebody must read what it says, or it stands still.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    address.unwrap_or_else(|| panic!("the registry does not listen:\n{}", said.join("\n")))
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
