//! Downloads from servers that break, redirect and refuse.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

/// A server that gives each connection the next of these answers and notes the requests' heads.
fn serve<T>(answers: &[String], run: impl FnOnce(&Url) -> T) -> (T, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/image", listener.local_addr().unwrap()).parse().unwrap();
    let count = answers.len();
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            let mut heads = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                heads.push(read_head(&stream));
                stream.write_all(answer.as_bytes()).unwrap();
            }
            heads
        });
        let result = run(&url);
        let heads = server.join().unwrap();
        assert_eq!(heads.len(), count);
        (result, heads)
    })
}

fn read_head(stream: &TcpStream) -> String {
    let (mut head, mut reader) = (String::new(), BufReader::new(stream));
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    head
}

fn client() -> Client {
    Client { limits: LIMITS, roots: Vec::new(), controller: None }
}

fn download(url: &Url) -> Result<(Vec<u8>, Option<u64>), String> {
    let (mut reader, size) = client().open(url)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok((bytes, size))
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n{body}")
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let answers = [
        answer("200 OK", "Content-Length: 10\r\nETag: \"v1\"\r\n", "01234"),
        answer("503 Busy", "Content-Length: 0\r\n", ""),
        answer("206 Partial", "Content-Length: 5\r\nContent-Range: bytes 5-9/10\r\n", "56789"),
    ];
    let (result, heads) = serve(&answers, download);
    assert_eq!(result.unwrap(), (b"0123456789".to_vec(), Some(10)));
    let last = heads[2].to_lowercase();
    assert!(last.contains("range: bytes=5-") && last.contains("if-range: \"v1\""), "{last}");
}

/// The target of a redirect may be signed for a while only, or be another mirror.
#[test]
fn a_broken_download_begins_again_at_the_url_that_was_given() {
    let to =
        |place: &str| answer("302 Found", &format!("Location: /{place}?sig=x\r\nContent-Length: 0\r\n"), "");
    let answers = [
        to("first"),
        answer("200 OK", "Content-Length: 10\r\nETag: \"v1\"\r\n", "01234"),
        to("second"),
        answer("206 Partial", "Content-Length: 5\r\nContent-Range: bytes 5-9/10\r\n", "56789"),
    ];
    let (result, heads) = serve(&answers, download);
    assert_eq!(result.unwrap().0, b"0123456789");
    let asked: Vec<&str> = heads.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
    assert_eq!(asked, ["/image", "/first?sig=x", "/image", "/second?sig=x"]);
}

#[test]
fn another_file_is_never_continued() {
    let tagged = answer("200 OK", "Content-Length: 10\r\nETag: \"v1\"\r\n", "01234");
    let time = "Last-Modified: Mon, 01 Jun 2026 00:00:00 GMT\r\n";
    let timed = answer("200 OK", &format!("Content-Length: 10\r\n{time}"), "01234");
    let plain = answer("200 OK", "Content-Length: 10\r\n", "01234");
    let rest = |headers: &str, range: &str| {
        answer(
            "206 Partial",
            &format!("Content-Length: 5\r\nContent-Range: bytes {range}\r\n{headers}"),
            "56789",
        )
    };
    let changed = "broke at byte 5 and the file has changed";
    let other_time = "Last-Modified: Tue, 02 Jun 2026 00:00:00 GMT\r\n";
    for (first, second, message) in [
        (&tagged, answer("200 OK", "Content-Length: 10\r\nETag: \"v2\"\r\n", "abcdefghij"), changed),
        (&tagged, rest("ETag: \"v2\"\r\n", "5-9/10"), changed),
        (&timed, rest(other_time, "5-9/10"), changed),
        (&plain, rest("", "5-9/11"), changed),
        (&plain, answer("416 Range", "Content-Length: 0\r\n", ""), changed),
        (&plain, answer("200 OK", "Content-Length: 11\r\n", "0123456789a"), changed),
        (&tagged, tagged.clone(), "it has no ranges"),
        (&plain, rest("", "4-9/10"), "does not continue at byte 5"),
    ] {
        let (result, heads) = serve(&[first.clone(), second], download);
        let error = result.unwrap_err();
        assert!(error.contains(message), "{error}");
        let asked = heads[1].to_lowercase();
        assert_eq!(asked.contains("if-range: mon, 01 jun"), *first == timed, "{asked}");
    }
    let same = "ETag: \"v1\"\r\nLast-Modified: Tue, 02 Jun 2026 00:00:00 GMT\r\n";
    assert!(serve(&[tagged, rest(same, "5-9/*")], download).0.is_ok(), "as far as both say");
}

/// Neither silent nor at an end.
#[test]
fn a_download_that_drips_is_given_up() {
    let drip = |limits: Limits| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url: Url = format!("http://{}/image", listener.local_addr().unwrap()).parse().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                read_head(&stream);
                let head = answer("200 OK", "Content-Length: 1000000\r\n", "");
                let mut sent = stream.write_all(head.as_bytes());
                while sent.is_ok() {
                    std::thread::park_timeout(Duration::from_millis(20));
                    sent = stream.write_all(b"x");
                }
            });
            let (mut reader, _) = Client { limits, ..client() }.open(&url).unwrap();
            reader.read_to_end(&mut Vec::new()).unwrap_err().to_string()
        })
    };
    let slow = drip(Limits { window: Duration::from_millis(200), ..LIMITS });
    assert!(slow.contains("bytes in 0 s, at byte"), "{slow}");
    let long = drip(Limits { whole: Duration::from_millis(200), ..LIMITS });
    assert!(long.contains("has not sent the image within"), "{long}");
}

#[test]
fn redirects_are_followed_and_refusals_are_final() {
    let moved = answer("302 Found", "Location: /elsewhere\r\nContent-Length: 0\r\n", "");
    let (result, heads) = serve(&[moved, answer("200 OK", "Content-Length: 2\r\n", "ok")], download);
    assert_eq!(result.unwrap().0, b"ok");
    assert!(heads[1].starts_with("GET /elsewhere "));
    let bad = answer("302 Found", "Location: file:///etc/passwd\r\nContent-Length: 0\r\n", "");
    assert!(serve(&[bad], download).0.unwrap_err().contains("cannot be used"));
    for status in ["401 Unauthorized", "404 Not Found"] {
        let (result, _) = serve(&[answer(status, "Content-Length: 0\r\n", "")], download);
        let error = result.unwrap_err();
        assert!(error.contains(&format!("answers with status {}", &status[..3])), "{error}");
        assert!(!error.contains("/image"), "{error}");
    }
}

#[test]
fn a_report_is_posted_as_json() {
    let post = |url: &Url| client().post(url, b"{\"a\":1}");
    let (status, heads) = serve(&[answer("204 No Content", "", "")], post);
    assert_eq!(status, Ok(204));
    assert!(heads[0].starts_with("POST /image ") && heads[0].contains("application/json"), "{}", heads[0]);
}

#[test]
fn the_controllers_policy_is_for_its_host_and_port_alone() {
    let policy = TlsPolicy::Pin([1; 32]);
    let client = Client { controller: Some((("10.0.0.5".to_owned(), 8443), policy.clone())), ..client() };
    assert_eq!(client.policy(&"https://10.0.0.5:8443/media/x".parse().unwrap()), policy);
    for other in ["https://10.0.0.5/x", "https://10.0.0.6:8443/x"] {
        assert_eq!(client.policy(&other.parse().unwrap()), TlsPolicy::Verify);
    }
}

/// The image may come from a controller that hears nothing.
#[test]
fn the_controllers_certificate_is_judged_the_same_where_nothing_is_reported() {
    let pin: TlsPolicy = format!("pin:{}", "ab".repeat(32)).parse().unwrap();
    let job = Job {
        report_url: None,
        controller_url: Some("https://10.0.0.5:8443/".parse().unwrap()),
        tls: pin.clone(),
        ..crate::testing::recipe().job
    };
    let client = Client::new(&job);
    let policy = |url: &str| client.policy(&url.parse().unwrap());
    assert_eq!(policy("https://10.0.0.5:8443/media/images/a.b/image"), pin);
    assert_eq!(policy("https://images.example/a"), TlsPolicy::Verify);
}
