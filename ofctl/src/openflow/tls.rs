//! TLS below OpenFlow (`ssl:`): both sides show certificates, as Open vSwitch wants it.
//!
//! The certificate of the switch has to be signed by the authority of `--ca-cert`. As in Open vSwitch, the name
//! in it does not count: switches are reached by addresses.

use crate::options::How;
use anyhow::{Context, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned,
};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// A connection with TLS.
pub(super) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// The value of `--ca-cert` that accepts every certificate.
const NO_CHECK: &str = "none";

/// Begins TLS on a connection.
///
/// # Errors
/// A file is missing or wrong, or one of the two sides does not accept the other's certificate; the error says
/// which option is to be looked at.
pub(super) fn begin(host: &str, mut stream: TcpStream, how: &How) -> anyhow::Result<TlsStream> {
    let config = config(how)?;
    let name = ServerName::try_from(host.to_owned())
        .with_context(|| format!("{host} is neither an address nor the name of a host"))?;
    let mut connection = ClientConnection::new(Arc::new(config), name)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| explain(error, "TLS handshake"))?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// An error of a connection, with the option that it is about, or else with `what` was to be done. The switch
/// looks at our certificate when the handshake is over for us, so that the next message has the error.
pub(super) fn explain(error: std::io::Error, what: &'static str) -> anyhow::Error {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let hint = match cause {
        Some(Error::InvalidCertificate(_)) => {
            "the certificate of the switch is not one that --ca-cert accepts"
        }
        Some(Error::AlertReceived(_)) => {
            "the switch does not accept the certificate of --certificate"
        }
        _ => what,
    };
    anyhow::Error::new(error).context(hint)
}

fn config(how: &How) -> anyhow::Result<ClientConfig> {
    let [Some(key), Some(certificate), Some(authority)] =
        [&how.private_key, &how.certificate, &how.ca_cert]
    else {
        bail!("ssl: needs --private-key, --certificate and --ca-cert (none accepts every switch)");
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match authority.as_os_str() == NO_CHECK {
        true => Arc::new(Checked { chain: None, provider: Arc::clone(&provider) }),
        false => {
            let mut roots = RootCertStore::empty();
            for root in certificates(authority, "--ca-cert")? {
                roots.add(root).with_context(|| format!("--ca-cert: {}", authority.display()))?;
            }
            let chain =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .context("--ca-cert")?;
            Arc::new(Checked { chain: Some(chain), provider: Arc::clone(&provider) })
        }
    };
    let own = certificates(certificate, "--certificate")?;
    let key_of = |path: &Path| {
        PrivateKeyDer::from_pem_file(path)
            .with_context(|| format!("--private-key: {} has no private key in PEM", path.display()))
    };
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(own, key_of(key)?)
        .context("--private-key does not belong to --certificate")
}

/// The certificates of a file, of which there has to be one.
fn certificates(path: &Path, option: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let context = || format!("{option}: {}", path.display());
    let list: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<_, _>>)
        .with_context(context)?;
    if list.is_empty() {
        bail!("{} has no certificate in PEM", context());
    }
    Ok(list)
}

/// Accepts certificates with whatever name.
#[derive(Debug)]
struct Checked {
    /// Checks by whom a certificate is signed; `None` accepts every certificate.
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(own, between, name, ocsp, now) {
            // The name is looked at last, when everything else is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
