//! A source of installers that does what its script says. It answers conditions and ranges as our own
//! server does, unless the script says otherwise.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ETAG, IF_RANGE, LOCATION, RANGE};
use http::{Method, Response, StatusCode};
use tower::util::BoxCloneSyncService;

use super::super::lock;
use crate::media::conditions::{RangeAnswer, answer};
use shoal_base::world::{HttpRequest, Transport, TransportError, TransportErrorKind};

/// What the source does with the next requests.
#[derive(Clone)]
pub struct SourceScript {
    pub image: Bytes,
    pub etag: Option<&'static str>,
    /// The next bodies break off after so many bytes.
    pub breaks: Vec<usize>,
    /// The next answers, instead of the image.
    pub answers: Vec<(StatusCode, Option<&'static str>)>,
    pub fails: Option<TransportErrorKind>,
    pub ignores_conditions: bool,
    pub hides_length: bool,
    /// A byte, and again one after this time, and so on.
    pub trickles: Option<Duration>,
    log: Vec<String>,
}

#[derive(Clone)]
pub struct Source(Arc<Mutex<SourceScript>>);

impl Source {
    pub fn new(image: Bytes) -> Source {
        Source(Arc::new(Mutex::new(SourceScript {
            image,
            etag: Some("\"v1\""),
            breaks: Vec::new(),
            answers: Vec::new(),
            fails: None,
            ignores_conditions: false,
            hides_length: false,
            trickles: None,
            log: Vec::new(),
        })))
    }

    pub fn set(&self, change: impl FnOnce(&mut SourceScript)) {
        change(&mut lock(&self.0));
    }

    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0).log)
    }

    pub fn transport(&self) -> Transport {
        let source = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
            let answered = source.answer(&request);
            async move {
                tokio::task::yield_now().await;
                answered
            }
        }))
    }

    fn answer(&self, request: &HttpRequest) -> Result<Response<Body>, TransportError> {
        let mut script = lock(&self.0);
        let header = |name| request.headers().get(name).map_or("-", |value| value.to_str().unwrap());
        let login = request.headers().contains_key("authorization");
        let uri = request.uri();
        script.log.push(format!(
            "{uri} {} {}{}",
            header(RANGE),
            header(IF_RANGE),
            if login { " login" } else { "" }
        ));
        if let Some(kind) = script.fails {
            return Err(TransportError::new(kind));
        }
        if !script.answers.is_empty() {
            let (status, location) = script.answers.remove(0);
            let mut response = Response::builder().status(status);
            if let Some(location) = location {
                response = response.header(LOCATION, location);
            }
            return Ok(response.body(Body::empty()).unwrap());
        }
        Ok(script.image_response(request))
    }
}

impl SourceScript {
    fn image_response(&mut self, request: &HttpRequest) -> Response<Body> {
        let size = self.image.len() as u64;
        let etag = http::HeaderValue::from_static(self.etag.unwrap_or("\"none\""));
        let mut headers = request.headers().clone();
        if self.ignores_conditions {
            headers.clear();
        }
        let (status, range) = match answer(&Method::GET, &headers, size, &etag) {
            RangeAnswer::Whole => (StatusCode::OK, 0..size),
            RangeAnswer::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            RangeAnswer::NotModified => (StatusCode::NOT_MODIFIED, 0..0),
            _ => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
        };
        let bytes = self.image.slice(range.start as usize..range.end as usize);
        let mut response = Response::builder().status(status);
        if self.etag.is_some() {
            response = response.header(ETAG, etag);
        }
        if !self.hides_length && status != StatusCode::NOT_MODIFIED {
            response = response.header("content-length", bytes.len());
        }
        if status == StatusCode::PARTIAL_CONTENT {
            response =
                response.header("content-range", format!("bytes {}-{}/{size}", range.start, range.end - 1));
        }
        let broken = (!self.breaks.is_empty()).then(|| self.breaks.remove(0));
        let body = match self.trickles {
            Some(pause) => trickle(bytes, pause),
            None => body(bytes, broken),
        };
        response.body(body).unwrap()
    }
}

fn trickle(bytes: Bytes, pause: Duration) -> Body {
    Body::from_stream(futures_util::stream::unfold(bytes, move |mut rest| async move {
        tokio::time::sleep(pause).await;
        let piece = (!rest.is_empty()).then(|| rest.split_to(1))?;
        Some((Ok::<_, std::io::Error>(piece), rest))
    }))
}

fn body(bytes: Bytes, broken: Option<usize>) -> Body {
    let Some(broken) = broken else { return Body::from(bytes) };
    let pieces = [Ok(bytes.slice(..broken.min(bytes.len()))), Err(std::io::Error::other("the wire was cut"))];
    Body::from_stream(futures_util::stream::iter(pieces))
}
