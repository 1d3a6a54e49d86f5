//! Who is believed: a peer whose certificate the trusted ones lead to. Its name does not matter, because switches and
//! controllers have certificates of their own authority and are addressed by number (as in Open vSwitch).
//!
//! A certificate that is itself among the trusted ones is believed too, as long as it holds: that is how a peer with a
//! self-signed certificate is pinned.

use super::der::Fields;
use base::sync::Arc;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Trusted certificates; see the module.
#[derive(Debug)]
pub(super) struct Trusted {
    certs: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
}

impl Trusted {
    /// Trusts these.
    ///
    /// # Errors
    /// The first that is no certificate.
    pub(super) fn new(certs: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for cert in &certs {
            roots.add(cert.clone())?;
        }
        let roots = Arc::new(roots);
        Ok(Self { certs, roots })
    }

    /// `None` when the certificate is not itself among the trusted ones.
    fn pinned(&self, cert: &CertificateDer<'_>, now: UnixTime) -> Option<Result<(), Error>> {
        if !self.certs.iter().any(|c| c == cert) {
            return None;
        }
        let holds = Fields::of(cert).map(|f| f.holds(now));
        Some(match holds {
            Some((true, true)) => Ok(()),
            Some((false, _)) => Err(CertificateError::NotValidYet.into()),
            Some((_, false)) => Err(CertificateError::Expired.into()),
            None => Err(CertificateError::BadEncoding.into()),
        })
    }
}

/// What is wrong with a self-signed certificate that is not trusted is just that.
fn plainer(cert: &CertificateDer<'_>, e: Error) -> Error {
    let other = matches!(&e, Error::InvalidCertificate(CertificateError::Other(_)));
    if other && Fields::of(cert).is_some_and(|f| f.is_self_issued()) {
        return CertificateError::UnknownIssuer.into();
    }
    e
}

/// Verifies a server; without trusted certificates, everybody is let in (`--ca-cert=none`, and before the first
/// certificate was fetched).
#[derive(Debug)]
pub(super) struct Servers {
    trusted: Option<Arc<Trusted>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Servers {
    pub(super) fn new(trusted: Option<Arc<Trusted>>, provider: &CryptoProvider) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self {
            trusted,
            algorithms,
        }
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        match trusted.pinned(cert, now) {
            Some(pinned) => pinned?,
            None => ParsedCertificate::try_from(cert)
                .and_then(|parsed| {
                    verify_server_cert_signed_by_trust_anchor(
                        &parsed,
                        &trusted.roots,
                        intermediates,
                        now,
                        self.algorithms.all,
                    )
                })
                .map_err(|e| plainer(cert, e))?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Verifies a client: it must have a certificate.
#[derive(Debug)]
pub(super) struct Clients {
    trusted: Arc<Trusted>,
    chains: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    /// # Errors
    /// Nobody is trusted.
    pub(super) fn new(
        trusted: &Arc<Trusted>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let roots = trusted.roots.clone();
        let built = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build();
        Ok(Self {
            trusted: trusted.clone(),
            chains: built.map_err(|e| e.to_string())?,
        })
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        cert: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.trusted.pinned(cert, now) {
            Some(pinned) => pinned.map(|()| ClientCertVerified::assertion()),
            None => self
                .chains
                .verify_client_cert(cert, intermediates, now)
                .map_err(|e| plainer(cert, e)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
