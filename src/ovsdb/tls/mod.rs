//! TLS for streams: which key, certificate and authorities (files that may change while the program runs), and the
//! streams themselves.
//!
//! * [`files`]: reading PEM files, again whenever they change. [`Tls`] holds what was read and makes it a
//!   configuration for the next connection; connections that are there keep theirs.
//! * [`stream`]: a connection. Nothing waits: a handshake goes on whenever bytes come.
//! * [`verify`]: who is believed. [`bootstrap`]: fetching the authority's certificate from the first server.
//! * [`ciphers`]: OpenSSL's cipher lists. [`der`]: the few fields of a certificate that people are shown.
//!
//! Both sides show certificates, as Open vSwitch demands; messages in the log are those of its module `stream_ssl`
//! where they do not quote OpenSSL. What differs: TLS 1.2 and 1.3 only, no certificates of X.509 version 1 but trusted
//! ones, keys without a pass phrase.

mod bootstrap;
mod ciphers;
mod der;
mod files;
mod stream;
mod verify;

pub use stream::TlsStream;

use base::log_rl;
use base::sync::{Arc, Mutex, lock};
use files::{Watched, certificates, private_key};
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use std::io;
use std::path::Path;
use verify::{Clients, Servers, Trusted};

/// Both, where nothing else is said.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
/// What Open vSwitch takes by default.
const CIPHERS: &str = "HIGH:!aNULL:!MD5";
/// "Protocol not available", "Protocol error" and "Input/output error" of Linux.
const ENOPROTOOPT: i32 = 92;
const EPROTO: i32 = 71;
const EIO: i32 = 5;

static LIMIT: base::log::RateLimit = base::log::RateLimit::new(10, 25);

/// What is known of keys and certificates: one for the whole program, shared by everybody who opens streams.
#[derive(Debug, Clone, Default)]
pub struct Tls(Arc<Mutex<Settings>>);

#[derive(Debug)]
struct Settings {
    key: Watched,
    cert: Watched,
    ca: Watched,
    /// Fetch the authority's certificate from the first server, as long as there is none.
    bootstrap: bool,
    /// False: everybody is believed.
    verify: bool,
    /// Further certificates shown to the peer.
    peer_ca: Vec<CertificateDer<'static>>,
    identity: Option<Arc<CertifiedKey>>,
    /// The key and the certificate were read, at least once each.
    has: (bool, bool),
    trusted: Option<Arc<Trusted>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    ciphers: String,
    provider: Arc<CryptoProvider>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            key: Watched::default(),
            cert: Watched::default(),
            ca: Watched::default(),
            bootstrap: false,
            verify: true,
            peer_ca: Vec::new(),
            identity: None,
            has: (false, false),
            trusted: None,
            versions: VERSIONS.to_vec(),
            ciphers: CIPHERS.to_owned(),
            provider: Arc::new(ciphers::provider(&ciphers::select(CIPHERS))),
        }
    }
}

impl Tls {
    /// Sets the files of our private key and certificate, whichever is given, and reads both when either changed.
    /// What cannot be read is named in the log; what was read before stays in force.
    pub fn set_key_and_cert(&self, key: Option<&Path>, cert: Option<&Path>) {
        let mut s = lock(&self.0);
        let changed =
            key.is_some_and(|p| s.key.changed(p)) | cert.is_some_and(|p| s.cert.changed(p));
        if changed {
            s.read_identity();
        }
    }

    /// Sets the file of the trusted certificates: peers must have one that they lead to. `none` lets everybody in.
    /// With `bootstrap`, a file that does not exist is made from what the first server shows.
    pub fn set_ca_cert(&self, ca: &Path, bootstrap: bool) {
        let mut s = lock(&self.0);
        if s.ca.changed(ca) {
            s.read_ca(bootstrap);
        }
    }

    /// Adds the certificates of a file to those that peers are shown, so that they can learn our authority.
    pub fn set_peer_ca_cert(&self, file: &Path) {
        match certificates(file) {
            Ok(certs) => {
                let mut s = lock(&self.0);
                s.peer_ca.extend(certs);
                s.read_identity_if_any();
            }
            Err(why) => tracing::error!(target: "stream_ssl", "{why}"),
        }
    }

    /// Reads files again that changed since they were read.
    pub fn refresh(&self) {
        let mut s = lock(&self.0);
        let (key, cert) = (s.key.changed_again(), s.cert.changed_again());
        if key || cert {
            s.read_identity();
        }
        if s.ca.changed_again() {
            let bootstrap = s.bootstrap;
            s.read_ca(bootstrap);
        }
    }

    /// Sets the versions, as a list of `TLSv1`, `TLSv1.1`, `TLSv1.2`. The older ones are taken and not spoken; saying
    /// anything at all rules out TLS 1.3, as in Open vSwitch 3.1. False when the text is no such list.
    pub fn set_protocols(&self, list: &str) -> bool {
        let words = || list.split([' ', ',', '\t']).filter(|w| !w.is_empty());
        if words().next().is_none() {
            tracing::error!(target: "stream_ssl", "SSL protocol settings invalid");
            return false;
        }
        let is = |word: &str, name: &str| word.eq_ignore_ascii_case(name);
        for word in words() {
            if !["TLSv1", "TLSv1.1", "TLSv1.2"].iter().any(|n| is(word, n)) {
                tracing::error!(target: "stream_ssl", "{word}: SSL protocol not recognized");
                return false;
            }
        }
        let mut s = lock(&self.0);
        s.versions.clear();
        if words().any(|w| is(w, "TLSv1.2")) {
            s.versions.push(&rustls::version::TLS12);
        } else {
            tracing::error!(target: "stream_ssl", "{list}: SSL protocols older than TLSv1.2 are not spoken");
        }
        true
    }

    /// Sets the suites of TLS 1.2 by an OpenSSL list. False, and nothing changes, when it names none there is.
    pub fn set_ciphers(&self, list: &str) -> bool {
        let suites = ciphers::select(list);
        if suites.is_empty() {
            tracing::error!(target: "stream_ssl", "SSL_CTX_set_cipher_list: {list}: no cipher match");
            return false;
        }
        let mut s = lock(&self.0);
        list.clone_into(&mut s.ciphers);
        s.provider = Arc::new(ciphers::provider(&suites));
        true
    }

    /// For the next connection that we make, and whether the server's certificate is to be trusted from then on.
    fn client(&self) -> io::Result<(Arc<ClientConfig>, bool)> {
        let s = lock(&self.0);
        let identity = s.needful()?;
        let trusted = s.trusted.clone().filter(|_| s.verify && !s.bootstrap);
        let verifier = Arc::new(Servers::new(trusted, &s.provider));
        let mut config = ClientConfig::builder_with_provider(s.provider.clone())
            .with_protocol_versions(&s.versions)
            .map_err(|e| unusable(&e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        // Every connection shows and checks certificates anew.
        config.resumption = rustls::client::Resumption::disabled();
        Ok((Arc::new(config), s.verify && s.bootstrap))
    }

    /// For the next connection that somebody makes to us.
    fn server(&self) -> io::Result<Arc<ServerConfig>> {
        let s = lock(&self.0);
        let identity = s.needful()?;
        let builder = ServerConfig::builder_with_provider(s.provider.clone())
            .with_protocol_versions(&s.versions)
            .map_err(|e| unusable(&e.to_string()))?;
        let builder = if s.verify {
            let trusted = s
                .trusted
                .as_ref()
                .ok_or_else(|| unusable("CA certificate must be configured to use SSL"))?;
            let clients = Clients::new(trusted, &s.provider).map_err(|e| unusable(&e))?;
            builder.with_client_cert_verifier(Arc::new(clients))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// Says why TLS cannot be spoken.
fn unusable(why: &str) -> io::Error {
    log_rl!(LIMIT, ERROR, "stream_ssl", "{why}");
    io::Error::from_raw_os_error(ENOPROTOOPT)
}

impl Settings {
    /// Our key and certificate, when everything is there that a connection needs.
    fn needful(&self) -> io::Result<Arc<CertifiedKey>> {
        let mut missing = Vec::new();
        if !self.has.0 {
            missing.push("Private key must be configured to use SSL");
        }
        if !self.has.1 {
            missing.push("Certificate must be configured to use SSL");
        }
        if self.verify && !self.bootstrap && self.trusted.is_none() {
            missing.push("CA certificate must be configured to use SSL");
        }
        for why in &missing {
            log_rl!(LIMIT, ERROR, "stream_ssl", "{why}");
        }
        match &self.identity {
            Some(identity) if missing.is_empty() => Ok(identity.clone()),
            Some(_) => Err(io::Error::from_raw_os_error(ENOPROTOOPT)),
            None if missing.is_empty() => Err(unusable(
                "Private key does not match certificate public key",
            )),
            None => Err(io::Error::from_raw_os_error(ENOPROTOOPT)),
        }
    }

    fn read_identity_if_any(&mut self) {
        if self.identity.is_some() {
            self.read_identity();
        }
    }

    /// Reads key and certificate; both are needed before they are of use.
    fn read_identity(&mut self) {
        let said = |why: String| tracing::error!(target: "stream_ssl", "{why}");
        let cert = self.cert.path().map(|p| {
            certificates(p).map_err(|why| said(format!("SSL_use_certificate_file: {why}")))
        });
        let key = self
            .key
            .path()
            .map(|p| private_key(p).map_err(|why| said(format!("SSL_use_PrivateKey_file: {why}"))));
        self.has.0 |= matches!(key, Some(Ok(_)));
        self.has.1 |= matches!(cert, Some(Ok(_)));
        let (Some(Ok(key)), Some(Ok(mut chain))) = (key, cert) else {
            return;
        };
        chain.extend(self.peer_ca.iter().cloned());
        match CertifiedKey::from_der(chain, key, &self.provider) {
            Ok(identity) => self.identity = Some(Arc::new(identity)),
            Err(rustls::Error::InconsistentKeys(_)) => {
                said("Private key does not match certificate public key".to_owned());
            }
            Err(e) => said(format!("SSL_use_PrivateKey_file: {e}")),
        }
    }

    fn read_ca(&mut self, bootstrap: bool) {
        let Some(path) = self.ca.path().map(Path::to_path_buf) else {
            return;
        };
        if path.as_os_str() == "none" {
            self.verify = false;
            tracing::warn!(target: "stream_ssl", "Peer certificate validation disabled (this is a security risk)");
            return;
        }
        if bootstrap && !path.exists() {
            self.bootstrap = true;
            return;
        }
        let read = certificates(&path)
            .and_then(|c| Trusted::new(c).map_err(|e| format!("{}: {e}", path.display())));
        match read {
            Ok(trusted) => {
                self.trusted = Some(Arc::new(trusted));
                (self.bootstrap, self.verify) = (false, true);
            }
            Err(why) => {
                tracing::error!(target: "stream_ssl", "failed to load client certificates from {why}");
            }
        }
    }
}
