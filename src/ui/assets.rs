//! The style sheet, the script and the icon, embedded in the binary.
//!
//! Invariant: the name of a file holds the hash of its content, so that a browser may keep it permanently and never
//! combines a page with the file of another release.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use sha2::{Digest as _, Sha256};
use shoal_base::hex;

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/live.js");
const ICON: &str = include_str!("assets/favicon.svg");
const KEEP: &str = "public, max-age=31536000, immutable";

static STYLE_NAME: LazyLock<String> = LazyLock::new(|| name("style", STYLE, "css"));
static SCRIPT_NAME: LazyLock<String> = LazyLock::new(|| name("live", SCRIPT, "js"));

fn name(stem: &str, content: &str, ending: &str) -> String {
    let hash = hex(&Sha256::digest(content.as_bytes())[..8]);
    format!("{stem}.{hash}.{ending}")
}

pub fn style_path() -> String {
    format!("/assets/{}", *STYLE_NAME)
}

pub fn script_path() -> String {
    format!("/assets/{}", *SCRIPT_NAME)
}

pub async fn serve(Path(name): Path<String>) -> Response {
    let (kind, content) = match name {
        name if name == *STYLE_NAME => ("text/css; charset=utf-8", STYLE),
        name if name == *SCRIPT_NAME => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEEP)], content).into_response()
}

pub async fn favicon() -> Response {
    let kept = "public, max-age=86400";
    ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, kept)], ICON).into_response()
}
