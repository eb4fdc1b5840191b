//! Encrypted connections: the server's certificate is verified, by its name and its issuer.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::*;

#[expect(clippy::disallowed_methods, reason = "a server of the test's own")]
/// A server with TLS before the one that tests share; returns its port and its certificate.
async fn with_tls(on_server: &OnServer, name: &str) -> (u16, CertificateDer<'static>) {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, socket) = (listener.local_addr().unwrap().port(), on_server.directory().join(".s.PGSQL.5432"));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                // What asks for TLS has eight bytes.
                let mut request = [0; 8];
                client.read_exact(&mut request).await.unwrap();
                client.write_all(b"S").await.unwrap();
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = UnixStream::connect(socket).await.unwrap();
                let _ended = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (port, cert.der().clone())
}

async fn opened(url: &str, roots: &[CertificateDer<'static>]) -> Result<Postgres, String> {
    let address = PostgresAddress::parse(url, false).unwrap();
    let opened = Postgres::start(&address, sealer(), Rng::from_system(), roots, LeaseClock::Database).await;
    opened.map_err(|error| format!("{error}: {}", std::error::Error::source(&error).unwrap()))
}

#[tokio::test]
async fn the_certificate_of_the_server_is_verified() {
    let Some(on_server) = OnServer::new().await else { return };
    let url =
        |port: u16| format!("postgres://{}@localhost:{port}/postgres?sslmode=verify-full", on_server.role);
    let (port, certificate) = with_tls(&on_server, "localhost").await;
    let store = opened(&url(port), std::slice::from_ref(&certificate)).await.unwrap();
    store.insert_server(&server("A")).await.unwrap();
    let unknown = opened(&url(port), &[]).await.map(drop).unwrap_err();
    assert!(unknown.contains("certificate"), "{unknown}");
    let (port, other) = with_tls(&on_server, "db.example").await;
    let misnamed = opened(&url(port), &[other]).await.map(drop).unwrap_err();
    assert!(misnamed.contains("certificate"), "{misnamed}");
}
