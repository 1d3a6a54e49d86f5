//! PEM files, and noticing that they changed.

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes of the longest file that is read: many times a chain of certificates.
const FILE_MAX: u64 = 1 << 20;

/// A configured file, and when it had last been written when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Watched {
    path: Option<PathBuf>,
    /// `None` for a file that is not there.
    modified: Option<SystemTime>,
}

impl Watched {
    /// The file.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Watches a file; true when it is another one than before, or was written since.
    pub(super) fn changed(&mut self, path: &Path) -> bool {
        let modified = modified(path);
        let same = self.path.as_deref() == Some(path) && self.modified == modified;
        if !same {
            self.path = Some(path.to_owned());
            self.modified = modified;
        }
        !same
    }

    /// True when the file that is watched was written since.
    pub(super) fn changed_again(&mut self) -> bool {
        let Some(path) = &self.path else { return false };
        let modified = modified(path);
        std::mem::replace(&mut self.modified, modified) != modified
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

/// A file's content; reading a device or a pipe would never end.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let named = |why: &dyn std::fmt::Display| {
        let why = why.to_string();
        let words = why.split(" (os error").next().unwrap_or_default();
        format!("{}: {words}", path.display())
    };
    let about = std::fs::metadata(path).map_err(|e| named(&e))?;
    if !about.is_file() {
        return Err(named(&"not a file"));
    }
    if about.len() > FILE_MAX {
        return Err(named(&format!("over {FILE_MAX} bytes")));
    }
    std::fs::read(path).map_err(|e| named(&e))
}

fn fault(path: &Path, what: &str, e: &pem::Error) -> String {
    let why = match e {
        pem::Error::NoItemsFound => format!("no {what} in PEM form"),
        other => other.to_string(),
    };
    format!("{}: {why}", path.display())
}

/// All certificates of a file, in order; at least one.
///
/// # Errors
/// In words, naming the file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certs {
        Ok(certs) if certs.is_empty() => Err(fault(path, "certificate", &pem::Error::NoItemsFound)),
        Ok(certs) => Ok(certs),
        Err(e) => Err(fault(path, "certificate", &e)),
    }
}

/// The private key of a file: PKCS #8, PKCS #1 (RSA) or SEC 1 (elliptic curves), without a pass phrase.
///
/// # Errors
/// In words, naming the file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|e| fault(path, "private key", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pem");
        let fails = |text: &str| {
            let e = certificates(&path).unwrap_err();
            assert!(
                e.starts_with(path.to_str().unwrap()) && e.contains(text),
                "{e}"
            );
            let e = private_key(&path).unwrap_err();
            assert!(e.starts_with(path.to_str().unwrap()), "{e}");
        };
        fails("No such file");
        std::fs::write(&path, "garbage").unwrap();
        fails("no certificate in PEM form");
        std::fs::write(
            &path,
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        fails("");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        fails("not a file");
    }

    #[test]
    fn changes_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pem");
        let mut w = Watched::default();
        assert!(!w.changed_again() && w.changed(&path) && !w.changed(&path));
        std::fs::write(&path, "a").unwrap();
        assert!(w.changed(&path) && !w.changed_again());
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(w.changed_again() && !w.changed(&path));
    }
}
