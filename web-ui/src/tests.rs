//! Both ways to compile this crate must hold: with a built dashboard and without one.

use super::*;

#[track_caller]
fn check(path: &str, content_type: &str) {
    assert_eq!(content_type_of(path), content_type, "{path}");
}

#[test]
fn every_kind_of_file_that_a_build_makes_has_its_type() {
    check("index.html", "text/html; charset=utf-8");
    check("assets/index-B1x.js", "text/javascript; charset=utf-8");
    check("assets/index-B1x.css", "text/css; charset=utf-8");
    check("icon.svg", "image/svg+xml");
    check("unknown", "application/octet-stream");
}

#[test]
fn the_page_is_there_under_each_of_its_names() {
    for path in ["", "/", "index.html", "/index.html"] {
        let page = file(path).expect("the page exists in every build");
        assert_eq!(page.content_type, "text/html; charset=utf-8");
        assert!(page.bytes.starts_with(b"<!doctype html>"), "{path}");
        assert!(page.etag.starts_with('"') && page.etag.ends_with('"') && page.etag.len() > 2);
        assert!(!page.immutable, "the page names the hashed files, so it must be asked for anew");
    }
}

#[test]
fn a_path_that_no_build_made_is_absent() {
    for path in ["nothing", "/assets/", "../Cargo.toml", "/etc/passwd"] {
        assert!(file(path).is_none(), "{path}");
    }
}

#[test]
fn hashed_assets_are_immutable_and_nothing_else_is() {
    for path in Dist::iter() {
        let asset = file(&path).expect("an embedded path is served");
        assert_eq!(asset.immutable, path.starts_with("assets/"), "{path}");
        assert_ne!(asset.content_type, "application/octet-stream", "{path} has no content type");
    }
}

#[test]
fn everything_the_page_refers_to_is_embedded() {
    let page = file("").expect("the page exists in every build");
    let text = String::from_utf8(page.bytes.into_owned()).expect("the page is UTF-8");
    let referred = text.split(['"', '\'']).filter(|word| word.starts_with("./") || word.starts_with("/assets/"));
    for path in referred {
        assert!(file(path.trim_start_matches('.')).is_some(), "{path}");
    }
}

#[test]
fn a_tag_is_the_hash_in_quotes() {
    let mut hash = [0_u8; 32];
    hash[0] = 0xab;
    assert_eq!(etag_of(&hash), "\"ab00000000000000\"");
}
