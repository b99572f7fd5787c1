//! Connections that TLS protects: with the right files, and with each of them wrong.

use super::bench::{Bench, FakeController, HELLO_13, Peer, barrier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use switchd::desired::SslFiles;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

fn files(key: &str, certificate: &str, ca: &str) -> SslFiles {
    SslFiles::new(file(key), file(certificate), file(ca)).unwrap()
}

fn right() -> SslFiles {
    files("switch.key", "switch.pem", "ca.pem")
}

/// A controller's key and certificate, and those whom it believes.
fn identity() -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, Arc<RootCertStore>) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(file("controller.pem")).unwrap()];
    (chain, PrivateKeyDer::from_pem_file(file("controller.key")).unwrap(), Arc::new(roots))
}

/// The controller's side of a connection that the switch has made.
fn accept(stream: TcpStream) -> Peer {
    let (chain, key, roots) = identity();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    let connection = ServerConnection::new(Arc::new(config)).unwrap();
    Peer::over(StreamOwned::new(connection, stream))
}

#[test]
fn a_controller_is_reached_by_tls() {
    let controller = FakeController::listen(0);
    let bench = Bench::start();
    bench.set_ssl(right());
    bench.set_controllers(&[&controller.tls_target("max_backoff=1000,inactivity_probe=0")]);
    let mut peer = accept(controller.accept_stream());
    peer.shake_hands(&HELLO_13);
    bench.add_rules(5_000);
    for xid in 0..20 {
        assert_eq!(peer.ask(&barrier(4, xid)), (21, xid));
    }
    bench.wait_for_status("is_connected=true state=ACTIVE");
    // Other files are a reason to connect again.
    bench.set_ssl(files("controller.key", "controller.pem", "ca.pem"));
    assert!(peer.is_closed());
    accept(controller.accept_stream()).shake_hands(&HELLO_13);
}

#[test]
fn a_controller_connects_by_tls() {
    let bench = Bench::start();
    bench.set_ssl(right());
    bench.set_controllers(&["pssl:0:127.0.0.1,inactivity_probe=0"]);
    let (chain, key, roots) = identity();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let name = ServerName::try_from("switch").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(bench.listening()).unwrap();
    let mut peer = Peer::over(StreamOwned::new(connection, stream));
    peer.shake_hands(&HELLO_13);
    assert_eq!(peer.ask(&barrier(4, 1)), (21, 1));
    let mut plain = Peer::tcp(bench.listening());
    plain.write(&HELLO_13);
    assert!(plain.is_closed());
    bench.wait_for_status("the peer does not speak TLS");
}

/// Connects with these files. The state of the controller has to tell `expected`.
fn check_wrong(files: Option<SslFiles>, expected: &str) {
    let controller = FakeController::listen(0);
    let bench = Bench::start();
    if let Some(files) = files {
        bench.set_ssl(files);
    }
    bench.set_controllers(&[&controller.tls_target("max_backoff=1000")]);
    let serving = std::thread::spawn(move || {
        let mut peer = accept(controller.accept_stream());
        peer.is_closed()
    });
    bench.wait_for_status(expected);
    assert!(serving.join().unwrap());
}

#[test]
fn the_error_says_which_file_is_wrong() {
    check_wrong(
        Some(files("controller.key", "switch.pem", "ca.pem")),
        "tls/controller.key does not belong to certificate",
    );
    check_wrong(
        Some(files("stranger.key", "stranger.pem", "ca.pem")),
        "the peer does not accept certificate",
    );
    check_wrong(
        Some(files("switch.key", "switch.pem", "other-ca.pem")),
        "the peer's certificate is not signed by one of ca_cert",
    );
    check_wrong(
        Some(files("nothing.key", "switch.pem", "ca.pem")),
        "tls/nothing.key: No such file or directory",
    );
    check_wrong(Some(files("switch.pem", "switch.pem", "ca.pem")), "no private key in PEM format");
    check_wrong(Some(files("switch.key", "switch.pem", "make")), "no certificate in PEM format");
    check_wrong(
        Some(files("encrypted.key", "old.pem", "ca.pem")),
        "tls/encrypted.key: it is encrypted, and nobody is there to type its password",
    );
    check_wrong(
        Some(files("old.key", "old.pem", "ca.pem")),
        "tls/old.pem: it is X.509 of version 1, but has to have version 3",
    );
    check_wrong(None, "TLS needs a private key, a certificate and a CA certificate");
}
