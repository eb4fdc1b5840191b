//! Listeners over real sockets: silent and slow clients, certificates and their renewal.

use super::*;
use axum::Router;

fn write_pair(files: &TlsFiles) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    made.cert.pem().into_bytes()
}

fn serving(bound: Bound, routes: Router) -> Vec<Serving> {
    let (service, refused) =
        (MediaFirst::without_media(routes), Arc::new(|_: IpAddr, _: &str| {}) as OnRefused);
    bound.serve(service.clone(), service, &refused, &CancellationToken::new())
}

#[tokio::test]
async fn a_certificate_is_reloaded_and_a_broken_one_is_not() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    assert!(Certificate::load(&files).await.is_err_and(|error| error.to_string().contains("TLS_CERT_FILE")));
    write_pair(&files);
    let mut certificate = Certificate::load(&files).await.unwrap();
    let first = certificate.config.get_inner();
    certificate.reload().await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &certificate.config.get_inner()), "nothing has changed");
    let second = write_pair(&files);
    certificate.reload().await.unwrap();
    assert_eq!(certificate.loaded.cert, second);
    std::fs::write(&files.key, "no key").unwrap();
    assert!(certificate.reload().await.is_err());
    assert_eq!(certificate.loaded.cert, second);
}

/// What a peer reads until the listener closes its connection, with or without a response. Time is
/// paused: nothing but a timeout ends the wait.
#[expect(clippy::disallowed_methods, reason = "a peer that speaks no proper HTTP")]
async fn answer_to(address: SocketAddr, words: &[&str]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    for word in words {
        let _ = stream.write_all(word.as_bytes()).await;
        tokio::time::sleep(FIRST_REQUEST_TIMEOUT / 4).await;
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_takes_too_long_is_disconnected() {
    let settings = ListenSettings { addr: "127.0.0.1:0".parse().unwrap(), tls: None, media: None };
    let bound = bind(&settings).await.unwrap();
    let address = bound.api.addr;
    let routes = Router::new().route("/", axum::routing::get(|| async { "hello" }));
    let servers = serving(bound, routes);
    assert_eq!(answer_to(address, &[]).await, "");
    assert_eq!(answer_to(address, &["GET / HT"]).await, "");
    assert_eq!(answer_to(address, &["GET /", " HTTP/1.1\r\n", "a: ", "b\r\n", "c: "]).await, "");
    let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let idle = answer_to(address, &[request]).await;
    assert!(idle.starts_with("HTTP/1.1 200 OK\r\n") && idle.ends_with("hello"), "{idle}");
    let half = answer_to(address, &[request, "GET / HT"]).await;
    assert_eq!(half.matches("hello").count(), 1, "{half}");
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(4 * BUFFER_BYTES_MAX));
    let too_long = answer_to(address, &[&head]).await;
    assert!(too_long.is_empty() || too_long.starts_with("HTTP/1.1 431 "), "{too_long}");
    for server in servers {
        server.stop(Duration::ZERO).await;
    }
}

/// A peer that asks for a large answer and never reads it: paused time shows that it is dropped, and when.
#[expect(clippy::disallowed_methods, reason = "a peer that does not read")]
#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_an_answer_is_dropped() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let settings = ListenSettings { addr: "127.0.0.1:0".parse().unwrap(), tls: None, media: None };
    let bound = bind(&settings).await.unwrap();
    let address = bound.api.addr;
    let dropped = Arc::new(tokio::sync::Notify::new());
    let on_drop = dropped.clone();
    let endless = move || {
        let guard = NotifyOnDrop(on_drop.clone());
        let pieces = futures_util::stream::repeat_with(move || {
            let _alive = &guard;
            Ok::<_, io::Error>(bytes::Bytes::from_static(&[0; 65536]))
        });
        async move { axum::body::Body::from_stream(pieces) }
    };
    let routes = Router::new().route("/", axum::routing::get(endless));
    let servers = serving(bound, routes);
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut piece = [0; 1024];
    assert!(stream.read(&mut piece).await.unwrap() > 0, "it reads a little, and then no more");
    let begun = tokio::time::Instant::now();
    dropped.notified().await;
    assert!(begun.elapsed() >= Duration::from_secs(600), "{:?}", begun.elapsed());
    for server in servers {
        server.stop(Duration::ZERO).await;
    }
}

/// Notifies when it is dropped.
struct NotifyOnDrop(Arc<tokio::sync::Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A stream that goes on while the certificate changes, and a new connection that shows the new one.
#[tokio::test]
async fn a_new_certificate_breaks_no_connection() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    write_pair(&files);
    let settings =
        ListenSettings { addr: "127.0.0.1:0".parse().unwrap(), tls: Some(files.clone()), media: None };
    let mut bound = bind(&settings).await.unwrap();
    let mut certificate = bound.certificate.take().unwrap();
    let url = bound.url();
    let (send, receive) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, io::Error>>(1);
    let receive = Arc::new(std::sync::Mutex::new(Some(receive)));
    let stream = move || {
        let receive = receive.lock().unwrap().take();
        let stream = receive.map(tokio_stream::wrappers::ReceiverStream::new);
        async move { stream.map_or(axum::body::Body::empty(), axum::body::Body::from_stream) }
    };
    let routes = Router::new().route("/", axum::routing::get(stream));
    let mut servers = serving(bound, routes);

    let transport = shoal_base::world::real_transport(&[]);
    let get = async || {
        let request = http::Request::get(url.as_str()).extension(shoal_base::world::TlsPolicy::Insecure);
        let request = request.body(bytes::Bytes::new()).unwrap();
        let response = tower::ServiceExt::oneshot(transport.clone(), request).await.unwrap();
        let shown = *response.extensions().get::<shoal_base::world::PeerCertificate>().unwrap();
        (shown, response.into_body())
    };
    use http_body_util::BodyExt;
    let (first, mut body) = get().await;
    send.send(Ok("before".into())).await.unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "before");
    write_pair(&files);
    certificate.reload().await.unwrap();
    let (second, _) = get().await;
    assert_ne!(first, second, "a new connection shows the new certificate");
    send.send(Ok("after".into())).await.unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "after");
    drop(send);
    assert!(body.frame().await.is_none(), "the stream ended, and was not broken off");
    servers.remove(0).stop(Duration::from_secs(1)).await;
}

/// The protocol that a client which offers `offered` is to speak.
async fn negotiated(bound: Bound, offered: &[&[u8]]) -> Result<Option<Vec<u8>>, io::Error> {
    let address = bound.api.addr;
    let mut roots = rustls::RootCertStore::empty();
    let shown = &bound.certificate.as_ref().unwrap().loaded.cert;
    roots.add(CertificateDer::from_pem_slice(shown).unwrap()).unwrap();
    let servers = serving(bound, Router::new());
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    let mut client =
        rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let shaken = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address)?;
        while client.is_handshaking() {
            client.complete_io(&mut stream)?;
        }
        Ok(client.alpn_protocol().map(<[u8]>::to_vec))
    });
    let protocol = shaken.await.unwrap();
    for server in servers {
        server.stop(Duration::ZERO).await;
    }
    protocol
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_offers_http_2_is_answered_http_1() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    write_pair(&files);
    let addr = "127.0.0.1:0".parse().unwrap();
    for is_reloaded in [false, true] {
        for (offered, spoken) in
            [(&[b"h2".as_slice(), b"http/1.1"][..], Some(b"http/1.1".to_vec())), (&[], None)]
        {
            let settings = ListenSettings { addr, tls: Some(files.clone()), media: None };
            let mut bound = bind(&settings).await.unwrap();
            if is_reloaded {
                write_pair(&files);
                bound.certificate.as_mut().unwrap().reload().await.unwrap();
            }
            assert_eq!(negotiated(bound, offered).await.unwrap(), spoken, "reloaded: {is_reloaded}");
        }
    }
    let bound = bind(&ListenSettings { addr, tls: Some(files), media: None }).await.unwrap();
    assert!(negotiated(bound, &[b"h2"]).await.is_err(), "h2 alone is refused in the handshake");
}

#[tokio::test]
async fn media_have_tls_where_they_are_to_and_not_otherwise() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    write_pair(&files);
    let addr = "127.0.0.1:0".parse().unwrap();
    for (tls, scheme) in [(false, "http"), (true, "https")] {
        let media = Some(crate::config::MediaListen { addr, tls });
        let bound = bind(&ListenSettings { addr, tls: Some(files.clone()), media }).await.unwrap();
        assert_eq!((bound.url().scheme(), bound.media_url().scheme()), ("https", scheme));
        assert_ne!(bound.url(), bound.media_url());
    }
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_setting() {
    let settings = ListenSettings { addr: "127.0.0.1:0".parse().unwrap(), tls: None, media: None };
    let bound = bind(&settings).await.unwrap();
    assert!(bound.is_loopback() && bound.url() == bound.media_url());
    let again = ListenSettings { addr: bound.api.addr, ..settings };
    let error = bind(&again).await.err().unwrap().to_string();
    assert!(error.contains("CONTROLLER_HTTP_ADDR"), "{error}");
}
