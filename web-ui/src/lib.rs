//! Hands out the dashboard's files, which `cargo xtask ui` built and this crate embeds (debug builds too).

use std::borrow::Cow;

use rust_embed::{Embed, EmbeddedFile};

/// One file of the dashboard, ready to be served.
#[derive(Clone, Debug)]
pub struct File {
    /// The whole file.
    pub bytes: Cow<'static, [u8]>,
    /// The value of `content-type`.
    pub content_type: &'static str,
    /// The value of `etag`, quotes included: equal tags mean equal bytes.
    pub etag: String,
    /// The name carries a hash of the bytes, so a browser may keep it for ever.
    pub immutable: bool,
}

/// The file behind a URL path, with or without its leading slash. The empty path is the page itself.
pub fn file(path: &str) -> Option<File> {
    let path = match path.trim_start_matches('/') {
        "" => INDEX,
        named => named,
    };
    match Dist::get(path) {
        Some(embedded) => Some(File::of(path, embedded)),
        None if path == INDEX => Some(File::not_built()),
        None => None,
    }
}

const INDEX: &str = "index.html";

#[derive(Embed)]
#[folder = "dist"]
#[allow_missing = true]
struct Dist;

impl File {
    fn of(path: &str, embedded: EmbeddedFile) -> File {
        File {
            etag: etag_of(&embedded.metadata.sha256_hash()),
            bytes: embedded.data,
            content_type: content_type_of(path),
            immutable: path.starts_with("assets/"),
        }
    }

    fn not_built() -> File {
        File {
            bytes: Cow::Borrowed(include_bytes!("not-built.html")),
            content_type: content_type_of(INDEX),
            etag: "\"not-built\"".to_owned(),
            immutable: false,
        }
    }
}

/// Eight bytes of the hash: enough to tell two builds of one file apart.
fn etag_of(hash: &[u8; 32]) -> String {
    let digits: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

fn content_type_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("json" | "webmanifest") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
