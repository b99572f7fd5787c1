//! TLS for connections to controllers: who we are, whom we believe, and the stream.
//!
//! Both sides show a certificate. A controller is believed if its certificate, or one that the controller sends
//! along, is signed by one of the CA file; the name in it does not matter, as in Open vSwitch. An error says
//! whether the private key, the certificate or the CA file is wrong.

use super::transport::Transport;
use crate::desired::SslFiles;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Connection,
    DigitallySignedStruct, Error, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why TLS cannot be used, or a handshake has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// Nobody has named the files.
    #[error(
        "TLS needs a private key, a certificate and a CA certificate: \"ofctl set-ssl\" names the files"
    )]
    NoFiles,
    /// A file cannot be read.
    #[error("{key} {}: {why}", path.display())]
    File {
        /// `private_key`, `certificate` or `ca_cert`.
        key: &'static str,
        path: PathBuf,
        why: String,
    },
    /// The private key is not that of the certificate.
    #[error("private_key {} does not belong to certificate {}", key.display(), certificate.display())]
    OtherKey { key: PathBuf, certificate: PathBuf },
    /// The peer does not believe us.
    #[error("the peer does not accept certificate {} ({alert})", certificate.display())]
    Refused { certificate: PathBuf, alert: String },
    /// We do not believe the peer.
    #[error("the peer's certificate is not signed by one of ca_cert {}", ca_cert.display())]
    UnknownPeer { ca_cert: PathBuf },
    /// The peer's certificate is not valid although its signer is known, or there is none.
    #[error("the peer's certificate is not valid: {0}")]
    PeerCertificate(String),
    /// The peer speaks something else.
    #[error("the peer does not speak TLS")]
    NoTls,
    #[error("TLS: {0}")]
    Other(String),
}

/// Reads the files and begins TLS on a stream, as the side that has connected or as the one that has accepted.
///
/// # Errors
/// A file cannot be read, or the files do not fit together.
pub(super) fn begin(
    stream: TcpStream,
    files: Option<&SslFiles>,
    has_connected: bool,
) -> Result<TlsTransport, TlsError> {
    let files = files.ok_or(TlsError::NoFiles)?.clone();
    let connection = if has_connected {
        // No name is sent for an address.
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
        Connection::Client(ClientConnection::new(Arc::new(client(&files)?), name).map_err(other)?)
    } else {
        Connection::Server(ServerConnection::new(Arc::new(server(&files)?)).map_err(other)?)
    };
    Ok(TlsTransport { stream, connection, files })
}

fn other(error: impl std::fmt::Display) -> TlsError {
    TlsError::Other(error.to_string())
}

/// Who we are, and whom we believe.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

impl Identity {
    fn read(files: &SslFiles) -> Result<Self, TlsError> {
        let chain = certificates("certificate", &files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.private_key)
            .map_err(|error| unreadable("private_key", &files.private_key, &error))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates("ca_cert", &files.ca_cert)? {
            roots.add(certificate).map_err(|error| TlsError::File {
                key: "ca_cert",
                path: files.ca_cert.clone(),
                why: error.to_string(),
            })?;
        }
        Ok(Self { chain, key, roots: Arc::new(roots) })
    }
}

/// What is wrong with our own certificate or key.
fn own(files: &SslFiles, error: Error) -> TlsError {
    match error {
        Error::InconsistentKeys(_) => TlsError::OtherKey {
            key: files.private_key.clone(),
            certificate: files.certificate.clone(),
        },
        Error::InvalidCertificate(why) => {
            TlsError::File { key: "certificate", path: files.certificate.clone(), why: fault(&why) }
        }
        error => TlsError::File {
            key: "private_key",
            path: files.private_key.clone(),
            why: error.to_string(),
        },
    }
}

/// The settings of the side that connects.
fn client(files: &SslFiles) -> Result<ClientConfig, TlsError> {
    let (Identity { chain, key, roots }, provider) = (Identity::read(files)?, provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let verifier = AnyName(verifier.build().map_err(other)?);
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)
        .map_err(|error| own(files, error))
}

/// The settings of the side that accepts.
fn server(files: &SslFiles) -> Result<ServerConfig, TlsError> {
    let (Identity { chain, key, roots }, provider) = (Identity::read(files)?, provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(other)?
        .with_client_cert_verifier(verifier.build().map_err(other)?)
        .with_single_cert(chain, key)
        .map_err(|error| own(files, error))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Whether the files can be read and fit together.
///
/// # Errors
/// What is wrong, and with which of the files.
pub(crate) fn check(files: &SslFiles) -> Result<(), TlsError> {
    // Opening a pipe would wait for somebody who writes.
    let named = [
        ("private_key", &files.private_key),
        ("certificate", &files.certificate),
        ("ca_cert", &files.ca_cert),
    ];
    let is_other = |path: &Path| path.metadata().is_ok_and(|meta| !meta.is_file());
    match named.into_iter().find(|(_, path)| is_other(path)) {
        Some((key, path)) => {
            let why = "it is no regular file".to_owned();
            Err(TlsError::File { key, path: path.clone(), why })
        }
        None => client(files).map(drop),
    }
}

/// The certificates of a file, one at least.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<_, _>>);
    let all: Vec<_> = read.map_err(|error| unreadable(key, path, &error))?;
    match all.is_empty() {
        false => Ok(all),
        true => Err(unreadable(key, path, &pem::Error::NoItemsFound)),
    }
}

fn unreadable(key: &'static str, path: &Path, error: &pem::Error) -> TlsError {
    let why = match error {
        pem::Error::NoItemsFound if key == "private_key" && is_encrypted(path) => {
            "it is encrypted, and nobody is there to type its password: \"openssl pkey -in OLD -out NEW\" makes one that \
             is not"
                .to_owned()
        }
        pem::Error::NoItemsFound if key == "private_key" => {
            "no private key in PEM format".to_owned()
        }
        pem::Error::NoItemsFound => "no certificate in PEM format".to_owned(),
        pem::Error::Io(error) if error.kind() == ErrorKind::PermissionDenied => format!(
            "{error}; with --sandbox, files have to be in /etc/switchd or in a folder that the command line or \
             --config names, and the folder has to be there when the switch starts"
        ),
        pem::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    };
    TlsError::File { key, path: path.to_owned(), why }
}

/// Whether a private key is one that a password protects (RFC 7468 §11).
fn is_encrypted(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

/// What is wrong with a certificate.
fn fault(why: &CertificateError) -> String {
    let text = format!("{why:?}");
    match text.contains("UnsupportedCertVersion") {
        true => {
            "it is X.509 of version 1, but has to have version 3, as ovs-pki makes it".to_owned()
        }
        false => why.to_string(),
    }
}

/// Believes a certificate whatever name it has, if its signer is known.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is looked at last, once everything else was found to be right.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// A TCP connection that TLS protects.
pub(super) struct TlsTransport {
    stream: TcpStream,
    connection: Connection,
    files: SslFiles,
}

impl TlsTransport {
    /// What an error of the protocol means for the three files.
    fn explain(&self, error: Error) -> TlsError {
        match error {
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => TlsError::UnknownPeer { ca_cert: self.files.ca_cert.clone() },
            Error::InvalidCertificate(why) => TlsError::PeerCertificate(fault(&why)),
            Error::NoCertificatesPresented => TlsError::PeerCertificate("it sends none".to_owned()),
            Error::AlertReceived(alert) if is_about_certificate(alert) => TlsError::Refused {
                certificate: self.files.certificate.clone(),
                alert: format!("{alert:?}"),
            },
            Error::InvalidMessage(_) => TlsError::NoTls,
            error => TlsError::Other(error.to_string()),
        }
    }

    /// Handles what was read from the stream. After an error, the peer is told.
    fn process(&mut self) -> io::Result<()> {
        self.connection.process_new_packets().map(drop).map_err(|error| {
            // The peer may be gone.
            let _ = self.connection.write_tls(&mut self.stream);
            io::Error::other(self.explain(error))
        })
    }

    /// Sends as much of what waits as the stream takes.
    fn push(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    // A peer that closes the connection usually says why before that.
                    while self.connection.read_tls(&mut self.stream).is_ok_and(|read| read > 0) {
                        self.process()?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Whether an alert says that the other side does not like our certificate.
fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

/// Whether an operation can succeed later.
fn is_for_now(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

impl Read for TlsTransport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if is_for_now(&error) => {}
                // A peer that ends TCP without ending TLS has ended all the same: messages
                // have lengths of their own.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            match self.push() {
                Err(error) if !is_for_now(&error) => return Err(error),
                _ => {}
            }
            self.connection.read_tls(&mut self.stream)?;
            self.process()?;
        }
    }
}

impl Write for TlsTransport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What was taken before goes first, so that no more than one piece waits here.
        self.push()?;
        let taken = self.connection.writer().write(bytes)?;
        match self.push() {
            Err(error) if !is_for_now(&error) => return Err(error),
            _ => {}
        }
        match taken {
            0 if !bytes.is_empty() => Err(ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }
}

impl AsFd for TlsTransport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Transport for TlsTransport {
    fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }
}

impl Drop for TlsTransport {
    fn drop(&mut self) {
        self.connection.send_close_notify();
        // The peer may be gone.
        let _ = self.connection.write_tls(&mut self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_outside_the_sandbox_is_told_where_it_may_be_and_since_when() {
        let error = pem::Error::Io(ErrorKind::PermissionDenied.into());
        let message = unreadable("ca_cert", Path::new("/etc/switchd/ca.pem"), &error).to_string();
        assert!(
            message.contains("in /etc/switchd or in a folder that the command line"),
            "{message}"
        );
        assert!(
            message.ends_with("the folder has to be there when the switch starts"),
            "{message}"
        );
    }
}
