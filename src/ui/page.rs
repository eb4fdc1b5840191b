//! The frame of every page, refusals as pages, and what all answers have in common.
//!
//! Invariants: every page has the strict CSP and is neither cached nor framed; forms of a page are sent with their
//! origin, which needs `Referrer-Policy: same-origin`.

use std::io::Write as _;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::BodyExt as _;
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::refusal::PageRefusal;
use super::viewer::Viewer;
use crate::access::Role;

/// Without `'unsafe-inline'` and without another origin.
const CSP: &str = "default-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const HEADERS: [(HeaderName, &str); 2] =
    [(header::CONTENT_SECURITY_POLICY, CSP), (header::REFERRER_POLICY, "same-origin")];

/// Shorter answers are not worth compressing.
const COMPRESS_FROM: usize = 1_024;

/// What the frame shows around a page.
pub struct PageFrame<'a> {
    pub title: &'a str,
    /// The part of the navigation that the page belongs to.
    pub part: &'a str,
    pub viewer: Option<&'a Viewer>,
    /// The last event that the page shows; with it, live updates follow.
    pub live_after: Option<u64>,
    pub notice: Option<&'static str>,
}

impl<'a> PageFrame<'a> {
    pub fn new(title: &'a str, part: &'a str, viewer: &'a Viewer) -> PageFrame<'a> {
        PageFrame { title, part, viewer: Some(viewer), live_after: None, notice: notice(&viewer.path) }
    }

    pub fn render(&self, content: &Markup) -> Html<String> {
        let live = self.live_after.map(|after| after.to_string());
        let rendered_at = self.viewer.filter(|_| live.is_some()).map(|viewer| viewer.now().as_millisecond());
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Shoal" }
                    link rel="icon" type="image/svg+xml" href="/favicon.svg";
                    link rel="stylesheet" href=(assets::style_path());
                    script src=(assets::script_path()) defer {}
                }
                body data-live-after=[live] data-live-since=[rendered_at] {
                    a.skip href="#main" { "Skip to content" }
                    (self.header())
                    p #live-status .live-status role="status" aria-live="polite" {}
                    main #main tabindex="-1" {
                        @if let Some(notice) = self.notice { p.notice role="status" { (notice) } }
                        (content)
                    }
                }
            }
        };
        Html(page.into_string())
    }

    fn header(&self) -> Markup {
        html! {
            header.top {
                a.brand href="/" { "Shoal" }
                @if let Some(viewer) = self.viewer {
                    nav aria-label="Main" {
                        ul {
                            @for (path, name, role) in NAVIGATION {
                                @if viewer.may(role) {
                                    li { a href=(path) aria-current=[(self.part == name).then_some("page")] { (name) } }
                                }
                            }
                        }
                    }
                    @if viewer.session.is_some() {
                        form.sign-out method="post" action="/sign-out" {
                            (viewer.form_fields())
                            span.who { (viewer.actor.name) " (" (viewer.actor.role.name()) ")" }
                            button.quiet { "Sign out" }
                        }
                    } @else {
                        span.who { "no sign-in (AUTH_MODE=none)" }
                    }
                }
            }
        }
    }
}

const NAVIGATION: [(&str, &str, Role); 5] = [
    ("/", "Fleet", Role::Viewer),
    ("/batches", "Batches", Role::Viewer),
    ("/kickstart", "Kickstart", Role::Viewer),
    ("/audit", "Audit", Role::Admin),
    ("/tokens", "Tokens", Role::Admin),
];

/// What an act led to, by a name in the query: nothing of a URL is shown as text.
fn notice(path: &str) -> Option<&'static str> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let name = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "notice")?.1;
    NOTICES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The text of a notice on a page without a viewer.
pub fn notice_text(name: &str) -> Option<&'static str> {
    NOTICES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

const NOTICES: [(&str, &str); 12] = [
    ("signed-out", "You are signed out."),
    (
        "cancelled",
        "Cancel requested. The controller clears the boot override and ejects the media when that is safe.",
    ),
    ("retried", "A new job was created with the same recipe."),
    ("protected", "The server is protected: the controller rejects jobs for it."),
    ("unprotected", "The server is no longer protected: jobs can install it."),
    ("inspected", "The hardware inventory was read from the BMC."),
    ("paused", "The batch is paused: no more rows start. Running rows continue."),
    ("resumed", "The batch continues."),
    ("batch-cancelled", "The rows that had not started are cancelled."),
    ("batch-cancelled-all", "All rows are being cancelled, running ones included."),
    ("batch-retried", "The failed rows start again under the limits of the batch."),
    ("revoked", "The token is revoked."),
];

/// A refusal as a page.
pub fn refused(viewer: Option<&Viewer>, refusal: &PageRefusal) -> Response {
    let content = html! {
        h1 { (refusal.title) }
        p.problem role="alert" { (refusal.detail) }
        @if !refusal.faults.is_empty() {
            ul { @for fault in &refusal.faults { li { code { (fault.pointer) } " " (fault.message) } } }
        }
        @if let Some(job) = &refusal.job { p { a href={ "/jobs/" (job) } { "Show job " code { (job) } } } }
        p { a href="/" { "Back to the fleet" } }
    };
    let frame = PageFrame { title: &refusal.title, part: "", viewer, live_after: None, notice: None };
    (refusal.status, frame.render(&content)).into_response()
}

/// Headers and compression of every answer of the web interface.
pub async fn finish(request: Request, next: Next) -> Response {
    let accepts_gzip = accepts_gzip(request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_text = kind.starts_with("text/") || kind.starts_with("image/svg") || kind.contains("javascript");
    if !accepts_gzip || !is_text || kind.starts_with("text/event-stream") {
        return response;
    }
    compressed(response).await
}

async fn compressed(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return PageRefusal::broken().status.into_response() };
    let bytes = body.to_bytes();
    if bytes.len() < COMPRESS_FROM {
        return Response::from_parts(head, Body::from(bytes));
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::new(4));
    let packed = encoder.write_all(&bytes).and_then(|()| encoder.finish());
    let Ok(packed) = packed else { return Response::from_parts(head, Body::from(bytes)) };
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(packed))
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    let codings = lists.flat_map(|list| list.split(','));
    codings.into_iter().any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0_f32));
        name.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_one_of_a_list() {
        assert_eq!(notice("/?q=x&notice=paused"), notice_text("paused"));
        assert_eq!(notice("/?notice=<script>"), None);
        assert_eq!(notice("/"), None);
    }

    #[test]
    fn gzip_is_sent_to_clients_that_accept_it() {
        let accepts = |text: &'static str| {
            accepts_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(text))]))
        };
        assert!(accepts("gzip") && accepts("br, GZIP;q=0.5") && accepts("deflate,gzip ; q=1"));
        assert!(!accepts("br") && !accepts("gzip;q=0") && !accepts("gzip; q=0.0") && !accepts(""));
    }
}
