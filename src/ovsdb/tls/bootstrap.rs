//! The first server is believed, and its authority from then on (`--bootstrap-ca-cert`): the last certificate that it
//! shows must be self-signed, and becomes the file of trusted certificates. The connection is given up, and made again
//! with that certificate in force.

use super::der::Fields;
use super::{Settings, Tls};
use base::sync::lock;
use ring::digest;
use rustls_pki_types::CertificateDer;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A line of PEM, bytes before encoding (RFC 7468: 64 characters).
const LINE: usize = 48;

impl Tls {
    /// Learns from the certificates that a server showed. It goes into the log whether that worked.
    pub(super) fn learn(&self, shown: &[CertificateDer<'_>]) {
        let mut s = lock(&self.0);
        if !s.bootstrap {
            tracing::info!(target: "stream_ssl", "rejecting SSL connection during bootstrap race window");
            return;
        }
        if let Err(why) = s.learn(shown) {
            tracing::error!(target: "stream_ssl", "could not bootstrap CA cert: {why}");
            let unsigned = why.contains("not self-signed");
            if unsigned && shown.len() < 2 {
                tracing::error!(target: "stream_ssl",
                    "only one certificate was received, so probably the peer is not configured to send its CA certificate");
            }
        }
    }
}

impl Settings {
    fn learn(&mut self, shown: &[CertificateDer<'_>]) -> Result<(), String> {
        let last = shown.last().ok_or("no certificate presented by peer")?;
        let fields = Fields::of(last).filter(Fields::is_self_issued);
        let fields =
            fields.ok_or("obtained certificate is not self-signed (subject issuer mismatch)")?;
        let Some(path) = self.ca.path().map(Path::to_path_buf) else {
            return Ok(());
        };
        let shown_path = path.display();
        match store(&path, last) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                tracing::info!(target: "stream_ssl", "reading CA cert {shown_path} created by another process");
                self.ca.changed(&path);
                self.read_ca(true);
                return Ok(());
            }
            Err(e) => return Err(format!("creating {shown_path} failed: {e}")),
        }
        tracing::info!(target: "stream_ssl", "successfully bootstrapped CA cert to {shown_path}");
        tracing::info!(target: "stream_ssl", "Trusting CA cert from {shown_path} ({}) (fingerprint {})",
            fields.oneline(), fingerprint(last));
        self.ca.changed(&path);
        self.read_ca(false);
        tracing::info!(target: "stream_ssl", "killing successful connection to retry using CA cert");
        Ok(())
    }
}

/// Makes the file, which must not be there; half a file is removed.
fn store(path: &Path, cert: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(path)?;
    file.write_all(pem(cert).as_bytes()).inspect_err(|_| {
        drop(std::fs::remove_file(path));
    })
}

/// A certificate in PEM form (RFC 7468).
fn pem(der: &[u8]) -> String {
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(LINE) {
        out.push_str(&base64(line));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let padded = [0, 1, 2].map(|i| u32::from(group.get(i).copied().unwrap_or(0)));
        let bits = padded[0] << 16 | padded[1] << 8 | padded[2];
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            out.push(if i > group.len() {
                '='
            } else {
                char::from(letter)
            });
        }
    }
    out
}

/// SHA-1 as people compare it (OpenSSL's default, and Open vSwitch's).
fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    let hex: Vec<String> = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    hex.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls_pki_types::pem::PemObject;

    #[test]
    fn examples_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        let digest = "a9:99:3e:36:47:06:81:6a:ba:3e:25:71:78:50:c2:6c:9c:d0:d8:9d";
        assert_eq!(fingerprint(b"abc"), digest);
    }

    proptest! {
        #[test]
        fn pem_is_read_back(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            let read = CertificateDer::from_pem_slice(pem(&bytes).as_bytes()).unwrap();
            prop_assert_eq!(&*read, &*bytes);
        }
    }
}
