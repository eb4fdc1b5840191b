//! The BMC's side of a virtual CD drive: reads of the host become HTTP reads of the inserted URL.
//!
//! It knows no ISO and no guest. Blocks of 64 KiB are fetched by Range when they are read, and only
//! the last of them is kept, so that a thousand machines hold little and repeated looks at a
//! medium reach the media server. A server that ignores Range gets one download of the whole
//! image instead. Invariant: a read gives exactly the bytes asked for, or an error after every try
//! of [`RETRY_FOR`] has failed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http_body_util::BodyExt;
use shoal_base::with_causes;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

use shoal_base::world::{HttpRequest, HttpResponse, TlsPolicy, Transport};

/// What is fetched by one request.
const BLOCK_BYTES: u64 = 64 << 10;
/// How long a failing read is tried again before the guest sees an I/O error.
pub const RETRY_FOR: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// For one block, or for each piece of a whole image.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one image that are kept in memory; blocks of zeroes cost nothing.
const COPY_BYTES_MAX: u64 = 1 << 30;

/// Why an image could not be read, in the words of a BMC's log.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no connection to the image's server: {0}")]
    Transport(#[from] shoal_base::world::TransportError),
    #[error("the image's server did not answer in time")]
    TimedOut,
    #[error("the image's server answered {0}")]
    Status(StatusCode),
    #[error("the image's server gave other bytes than those asked for")]
    OtherBytes,
    #[error("the download of the image broke off")]
    Broken(#[source] axum::Error),
    #[error("the image URL cannot be requested")]
    Url(#[source] http::Error),
    #[error("the image is too big for this simulated BMC")]
    TooBig,
}

/// One inserted image, as the BMC reads it.
pub struct Stream {
    transport: Transport,
    url: String,
    /// Added to every fetch.
    delay: Duration,
    last: Option<(u64, Bytes)>,
    capacity: Option<u64>,
    copy: Option<Arc<ImageCopy>>,
}

impl Stream {
    pub fn new(transport: Transport, url: String, delay: Duration, copy: Option<Arc<ImageCopy>>) -> Stream {
        Stream { transport, url, delay, last: None, capacity: None, copy }
    }

    /// Forgets what was read, as the BMC does when the host resets its USB bus.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// The bytes of a range and the size of the image, tried again for [`RETRY_FOR`].
    pub async fn read(&mut self, range: Range<u64>) -> Result<(Bytes, u64), FetchError> {
        let give_up = Instant::now() + RETRY_FOR;
        loop {
            match self.try_read(range.clone()).await {
                Err(error) if Instant::now() + RETRY_PAUSE < give_up => {
                    tracing::debug!(url = self.url, error = %with_causes(&error), "a read of an image is tried again");
                    sleep(RETRY_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// One try of [`Stream::read`].
    pub async fn try_read(&mut self, range: Range<u64>) -> Result<(Bytes, u64), FetchError> {
        let mut parts = BytesMut::new();
        let mut at = range.start;
        while at < range.end {
            let index = at / BLOCK_BYTES;
            let block = self.block(index).await?;
            let within = (at - index * BLOCK_BYTES) as usize;
            let len = block.len().saturating_sub(within).min((range.end - at) as usize);
            if len == 0 {
                return Err(FetchError::OtherBytes);
            }
            let piece = block.slice(within..within + len);
            at += len as u64;
            if parts.is_empty() && at == range.end {
                return Ok((piece, self.capacity.unwrap_or_default()));
            }
            parts.extend_from_slice(&piece);
        }
        Ok((parts.freeze(), self.capacity.unwrap_or_default()))
    }

    /// One block, from the copy of the whole image, from what was read last, or by a request of its own.
    async fn block(&mut self, index: u64) -> Result<Bytes, FetchError> {
        if let Some(copy) = &self.copy {
            self.capacity = Some(copy.size);
            return Ok(copy.block(index));
        }
        if let Some((_, block)) = self.last.as_ref().filter(|(last, _)| *last == index) {
            return Ok(block.clone());
        }
        sleep_if(self.delay).await;
        let start = index * BLOCK_BYTES;
        let end = self.capacity.map_or(start + BLOCK_BYTES, |size| size.min(start + BLOCK_BYTES));
        match timeout(FETCH_TIMEOUT, fetch_range(&self.transport, &self.url, start..end)).await {
            Err(_) => Err(FetchError::TimedOut),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Fetched::Part { bytes, size })) => {
                self.capacity = Some(size);
                self.last = Some((index, bytes.clone()));
                Ok(bytes)
            }
            Ok(Ok(Fetched::Whole(response))) => {
                let copy = ImageCopy::download(response).await?;
                self.capacity = Some(copy.size);
                let block = copy.block(index);
                self.copy = Some(Arc::new(copy));
                Ok(block)
            }
        }
    }
}

async fn sleep_if(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}

enum Fetched {
    Part {
        bytes: Bytes,
        size: u64,
    },
    /// The server ignored the range.
    Whole(HttpResponse),
}

async fn fetch_range(transport: &Transport, url: &str, range: Range<u64>) -> Result<Fetched, FetchError> {
    let wanted = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
    let response = transport.clone().oneshot(request(url, Some(wanted))?).await?;
    match response.status() {
        StatusCode::OK => return Ok(Fetched::Whole(response)),
        StatusCode::PARTIAL_CONTENT => {}
        status => return Err(FetchError::Status(status)),
    }
    let size = content_range_size(&response, range.start).ok_or(FetchError::OtherBytes)?;
    let limit = (range.end - range.start) as usize;
    let body = http_body_util::Limited::new(response.into_body(), limit);
    let bytes = body.collect().await.map_err(|error| FetchError::Broken(axum::Error::new(error)))?.to_bytes();
    let expected = range.end.min(size).saturating_sub(range.start);
    if bytes.len() as u64 == expected {
        Ok(Fetched::Part { bytes, size })
    } else {
        Err(FetchError::OtherBytes)
    }
}

/// The size of the whole in `Content-Range: bytes START-END/SIZE`.
fn content_range_size(response: &HttpResponse, start: u64) -> Option<u64> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let first: u64 = range.split_once('-')?.0.parse().ok()?;
    if first == start { size.parse().ok() } else { None }
}

/// BMCs seldom verify the certificate of a media server, and cannot be given a private CA.
fn request(url: &str, range: Option<String>) -> Result<HttpRequest, FetchError> {
    let mut request = http::Request::get(url).extension(TlsPolicy::Insecure);
    if let Some(range) = range {
        request = request.header(RANGE, range);
    }
    request.body(Bytes::new()).map_err(FetchError::Url)
}

/// A whole image in the BMC's memory, without its blocks of zeroes.
pub struct ImageCopy {
    size: u64,
    blocks: BTreeMap<u64, Bytes>,
}

static ZEROES: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];

impl ImageCopy {
    /// Downloads the image at `url`, as a BMC without streaming does at insert.
    pub async fn fetch(transport: &Transport, url: &str) -> Result<ImageCopy, FetchError> {
        let head = transport.clone().oneshot(request(url, None)?);
        let response = timeout(FETCH_TIMEOUT, head).await.map_err(|_| FetchError::TimedOut)??;
        match response.status() {
            StatusCode::OK => ImageCopy::download(response).await,
            status => Err(FetchError::Status(status)),
        }
    }

    async fn download(response: HttpResponse) -> Result<ImageCopy, FetchError> {
        let announced =
            response.headers().get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
        let mut copy = ImageCopy { size: 0, blocks: BTreeMap::new() };
        let mut body = response.into_body();
        let mut rest = BytesMut::new();
        while let Some(frame) =
            timeout(FETCH_TIMEOUT, body.frame()).await.map_err(|_| FetchError::TimedOut)?
        {
            let mut data = frame.map_err(FetchError::Broken)?.into_data().unwrap_or_default();
            while rest.is_empty() && data.len() as u64 >= BLOCK_BYTES {
                copy.push(data.split_to(BLOCK_BYTES as usize))?;
            }
            rest.extend_from_slice(&data);
            while rest.len() as u64 >= BLOCK_BYTES {
                copy.push(rest.split_to(BLOCK_BYTES as usize).freeze())?;
            }
        }
        copy.push(rest.freeze())?;
        if announced.is_some_and(|announced: u64| announced != copy.size) {
            return Err(FetchError::OtherBytes);
        }
        Ok(copy)
    }

    fn push(&mut self, block: Bytes) -> Result<(), FetchError> {
        let index = self.size / BLOCK_BYTES;
        self.size += block.len() as u64;
        if block[..] != ZEROES[..block.len()] {
            if (self.blocks.len() as u64) * BLOCK_BYTES >= COPY_BYTES_MAX {
                return Err(FetchError::TooBig);
            }
            self.blocks.insert(index, block);
        }
        Ok(())
    }

    fn block(&self, index: u64) -> Bytes {
        let len = self.size.saturating_sub(index * BLOCK_BYTES).min(BLOCK_BYTES);
        let zeroes = || Bytes::from(vec![0; len as usize]);
        self.blocks.get(&index).cloned().unwrap_or_else(zeroes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::body::Body;
    use tower::util::BoxCloneSyncService;

    use super::*;
    use shoal_base::world::{TransportError, TransportErrorKind};

    fn image() -> Bytes {
        (0..200_000u32).map(|at| (at / 1000) as u8).collect()
    }

    /// A server of [`image`] that fails the first `failures` requests, and may not know Range.
    fn server(failures: u32, knows_range: bool) -> (Transport, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let service = tower::service_fn(move |request: HttpRequest| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            std::future::ready(if number < failures {
                Err(TransportError::new(TransportErrorKind::Connect))
            } else {
                Ok(answer(&request, knows_range))
            })
        });
        (BoxCloneSyncService::new(service), asked)
    }

    fn answer(request: &HttpRequest, knows_range: bool) -> HttpResponse {
        let range = request.headers().get(RANGE).filter(|_| knows_range);
        let Some(range) = range.and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")) else {
            return http::Response::new(Body::from(image()));
        };
        let (first, last) = range.split_once('-').unwrap();
        let (first, end) = (first.parse().unwrap(), last.parse::<usize>().unwrap() + 1);
        let bytes = image().slice(first..end.min(200_000));
        let range = format!("bytes {first}-{}/200000", first + bytes.len() - 1);
        let response = http::Response::builder().status(206).header(CONTENT_RANGE, range);
        response.body(Body::from(bytes)).unwrap()
    }

    fn stream(transport: Transport) -> Stream {
        Stream::new(transport, "http://media.test/a.iso".into(), Duration::ZERO, None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_across_blocks_gives_exactly_its_bytes() {
        let (transport, asked) = server(0, true);
        let mut stream = stream(transport);
        let (bytes, size) = stream.read(65_000..132_000).await.unwrap();
        assert_eq!((bytes, size), (image().slice(65_000..132_000), 200_000));
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        stream.read(131_072..131_082).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3, "the last block is kept");
        stream.forget();
        stream.read(131_072..131_082).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_read_is_tried_again_for_thirty_seconds() {
        let begun = Instant::now();
        let (transport, _) = server(28, true);
        assert!(stream(transport).read(0..10).await.is_ok());
        let (transport, _) = server(1000, true);
        assert!(matches!(stream(transport).read(0..10).await, Err(FetchError::Transport(_))));
        let waited = begun.elapsed();
        assert!((56..=60).contains(&waited.as_secs()), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_range_is_downloaded_from_once() {
        let (transport, asked) = server(0, false);
        let mut stream = stream(transport);
        for at in [0, 70_000, 199_990] {
            assert_eq!(
                stream.read(at..at + 10).await.unwrap().0,
                image().slice(at as usize..at as usize + 10)
            );
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_image_is_the_end() {
        let (transport, _) = server(0, true);
        let (bytes, _) = stream(transport).read(196_608..200_000).await.unwrap();
        assert_eq!(bytes.len(), 3_392);
        let (transport, _) = server(0, true);
        let copy = ImageCopy::fetch(&transport, "http://media.test/a.iso").await.unwrap();
        assert_eq!(copy.blocks.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(copy.block(3).len(), 3_392);
    }
}
