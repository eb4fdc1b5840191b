//! What part of an image a request asks for, and under which conditions (RFC 9110, 13 and 14). Pure.
//!
//! Not a general implementation: an image has no date, so only tags count. Invariant: a range that
//! cannot be honoured as it was meant gives the whole image, never another part of it.

use std::ops::Range;

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_range_header::parse_range_header;

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeAnswer {
    /// 200.
    Whole,
    /// 206; not empty and inside the image.
    Part(Range<u64>),
    /// 304: the asker has this very image.
    NotModified,
    /// 412: the asker wants another image than this.
    Failed,
    /// 416: the range begins beyond the end.
    Unsatisfiable,
}

/// Judges a request for an image of `size` bytes, which is not 0, with the strong validator `etag`.
pub fn answer(method: &Method, headers: &HeaderMap, size: u64, etag: &HeaderValue) -> RangeAnswer {
    if headers.contains_key(IF_MATCH) && !names(headers, &IF_MATCH, etag, same) {
        return RangeAnswer::Failed;
    }
    if names(headers, &IF_NONE_MATCH, etag, same_but_for_weakness) {
        return RangeAnswer::NotModified;
    }
    // RFC 9110, 14.2: a range means something to a GET alone. A HEAD reports the size of the image.
    if *method != Method::GET || !is_current(headers, etag) {
        return RangeAnswer::Whole;
    }
    match only(headers, &RANGE) {
        Some(range) => part(range, size),
        None => RangeAnswer::Whole,
    }
}

/// Whether the image is still the one of which the asker holds a part.
fn is_current(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    !headers.contains_key(IF_RANGE)
        || only(headers, &IF_RANGE).is_some_and(|tag| tag.as_bytes() == etag.as_bytes())
}

fn part(header: &HeaderValue, size: u64) -> RangeAnswer {
    let Some(ranges) = header.to_str().ok().and_then(|text| parse_range_header(text).ok()) else {
        return RangeAnswer::Whole;
    };
    if ranges.len() != 1 {
        return RangeAnswer::Whole;
    }
    match ranges.validate(size).as_deref() {
        Ok([range]) => RangeAnswer::Part(*range.start()..*range.end() + 1),
        _ => RangeAnswer::Unsatisfiable,
    }
}

/// The value of a header that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a list of tags holds `etag`. Our own tags hold no comma.
fn names(headers: &HeaderMap, name: &HeaderName, etag: &HeaderValue, equal: fn(&str, &str) -> bool) -> bool {
    let etag = etag.to_str().unwrap_or_default();
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|tag| tag == "*" || equal(tag, etag))
}

fn same(tag: &str, etag: &str) -> bool {
    tag == etag
}

fn same_but_for_weakness(tag: &str, etag: &str) -> bool {
    tag.strip_prefix("W/").unwrap_or(tag) == etag
}

#[cfg(test)]
mod tests {
    use super::*;
    use RangeAnswer::{Failed, NotModified, Part, Unsatisfiable, Whole};

    const ETAG: &str = "\"aa\"";

    #[track_caller]
    fn check(method: Method, lines: &[(HeaderName, &str)], expected: RangeAnswer) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let found = answer(&method, &headers, 1000, &HeaderValue::from_static(ETAG));
        assert_eq!(found, expected, "{lines:?}");
    }

    #[track_caller]
    fn check_range(range: &str, expected: RangeAnswer) {
        check(Method::GET, &[(RANGE, range)], expected);
    }

    #[test]
    fn one_range_is_a_part() {
        check_range("bytes=0-0", Part(0..1));
        check_range("bytes=0-999", Part(0..1000));
        check_range("bytes=10-", Part(10..1000));
        check_range("bytes=900-5000", Part(900..1000));
        check_range("bytes=-1", Part(999..1000));
        check_range("bytes=-5000", Part(0..1000));
        check_range("BYTES=1-2", Part(1..3));
    }

    #[test]
    fn a_range_that_begins_beyond_the_end_cannot_be_had() {
        for range in ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999999-"] {
            check_range(range, Unsatisfiable);
        }
    }

    #[test]
    fn what_is_not_one_range_of_bytes_is_ignored() {
        for range in [
            "bytes=0-1,5-6",
            "bytes=2000-,3000-",
            "lines=1-2",
            "bytes=",
            "bytes=5-2",
            "bytes=a-b",
            "0-5",
            "bytes=--1",
        ] {
            check_range(range, Whole);
        }
        check(Method::GET, &[(RANGE, "bytes=0-1"), (RANGE, "bytes=3-4")], Whole);
        check(Method::GET, &[], Whole);
    }

    #[test]
    fn if_range_honours_the_strong_tag_only() {
        check(Method::GET, &[(RANGE, "bytes=1-2"), (IF_RANGE, ETAG)], Part(1..3));
        for stale in ["\"ab\"", "W/\"aa\"", "Sun, 22 Nov 2026 08:00:00 GMT", "", "*"] {
            check(Method::GET, &[(RANGE, "bytes=1-2"), (IF_RANGE, stale)], Whole);
        }
        check(Method::GET, &[(RANGE, "bytes=2000-"), (IF_RANGE, "\"ab\"")], Whole);
        check(Method::GET, &[(IF_RANGE, ETAG)], Whole);
    }

    #[test]
    fn tags_decide_before_ranges() {
        for known in [ETAG, "*", "W/\"aa\"", "\"ab\", \"aa\""] {
            check(Method::GET, &[(IF_NONE_MATCH, known), (RANGE, "bytes=1-2")], NotModified);
            check(Method::HEAD, &[(IF_NONE_MATCH, known)], NotModified);
        }
        check(Method::GET, &[(IF_NONE_MATCH, "\"ab\""), (RANGE, "bytes=1-2")], Part(1..3));
        check(Method::GET, &[(IF_MATCH, "\"ab\"")], Failed);
        check(Method::GET, &[(IF_MATCH, "W/\"aa\"")], Failed);
        check(Method::GET, &[(IF_MATCH, "\"ab\", \"aa\""), (RANGE, "bytes=1-2")], Part(1..3));
    }

    #[test]
    fn a_head_describes_the_whole_image() {
        check(Method::HEAD, &[(RANGE, "bytes=1-2")], Whole);
        check(Method::HEAD, &[(RANGE, "bytes=5000-")], Whole);
    }
}
