//! Bodies that come compressed although the request asked for none (HPE iLO 4 and 5).
//!
//! Invariant: what is unpacked is bounded as what is received is.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header};

/// The body as text. One that is not what its header says is given back as it came: reading it as
/// JSON then says that it is garbled.
pub(super) fn decode(headers: &HeaderMap, body: Bytes, bytes_max: usize) -> Bytes {
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let is_gzip = encoding.is_some_and(|encoding| encoding.trim().eq_ignore_ascii_case("gzip"));
    // Some leave the header out.
    if !is_gzip && !body.starts_with(&[0x1f, 0x8b]) {
        return body;
    }
    let mut text = Vec::new();
    let read = MultiGzDecoder::new(body.as_ref()).take(bytes_max as u64 + 1).read_to_end(&mut text);
    match read {
        Ok(bytes) if bytes <= bytes_max => text.into(),
        _ => body,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn a_compressed_body_is_read_with_and_without_its_header() {
        let plain = HeaderMap::new();
        let said = HeaderMap::from_iter([(header::CONTENT_ENCODING, "gzip".parse().unwrap())]);
        for headers in [&plain, &said] {
            assert_eq!(decode(headers, gzip(b"{\"a\": 1}"), 100).as_ref(), b"{\"a\": 1}");
        }
        assert_eq!(decode(&said, Bytes::from_static(b"{}"), 100).as_ref(), b"{}");
    }

    #[test]
    fn a_small_body_does_not_become_a_large_one() {
        let bomb = gzip(&vec![b' '; 1 << 20]);
        assert_eq!(decode(&HeaderMap::new(), bomb.clone(), 1 << 16), bomb);
    }
}
