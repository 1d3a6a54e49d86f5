//! OpenSSL's cipher lists (`ciphers(1)`), as `--ssl-ciphers` takes them, over the suites there are here.
//!
//! Such a list concerns TLS up to 1.2; the suites of TLS 1.3 are always there, as with OpenSSL.

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, SupportedCipherSuite};

/// A suite of TLS 1.2, its name to OpenSSL, and the words that mean it among others.
type Known = (CipherSuite, &'static str, &'static str);

const KNOWN: [Known; 6] = [
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDSA aECDSA AES AES256 AESGCM SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDSA aECDSA AES AES128 AESGCM SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDSA aECDSA CHACHA20",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384",
        "RSA aRSA AES AES256 AESGCM SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256",
        "RSA aRSA AES AES128 AESGCM SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305",
        "RSA aRSA CHACHA20",
    ),
];

/// Words that mean every suite above: elliptic-curve key exchange, 128 bits and more, nothing older than TLS 1.2.
const ALL: [&str; 10] = [
    "ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH", "TLSv1.2", "AEAD",
];

/// One word, or several joined by `+`, all of which must fit.
fn fits(known: &Known, words: &str) -> bool {
    words
        .split('+')
        .all(|word| word == known.1 || ALL.contains(&word) || known.2.split(' ').any(|w| w == word))
}

/// The suites of TLS 1.2 that a list names, in its order; empty when it names none. Words for what is not there
/// (`MD5`, `aNULL`, ...) mean nothing.
pub(super) fn select(list: &str) -> Vec<CipherSuite> {
    let mut out: Vec<&Known> = Vec::new();
    let mut banned: Vec<&Known> = Vec::new();
    for token in list.split([':', ',', ' ', ';']).filter(|t| !t.is_empty()) {
        let (sign, words) = match token.split_at(1) {
            (sign @ ("!" | "-" | "+"), words) => (sign, words),
            _ if token.starts_with('@') => continue,
            _ => ("", token),
        };
        let meant: Vec<&Known> = KNOWN.iter().filter(|k| fits(k, words)).collect();
        let mean = |k: &&Known| meant.iter().any(|m| m.1 == k.1);
        match sign {
            "!" => {
                out.retain(|k| !mean(k));
                banned.extend(&meant);
            }
            "-" => out.retain(|k| !mean(k)),
            "+" => out.sort_by_key(mean),
            _ => {
                for k in meant {
                    let known = out.iter().chain(&banned).any(|o| o.1 == k.1);
                    if !known {
                        out.push(k);
                    }
                }
            }
        }
    }
    out.into_iter().map(|k| k.0).collect()
}

/// The provider of cryptography with these suites for TLS 1.2, and all of TLS 1.3.
pub(super) fn provider(suites: &[CipherSuite]) -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    let all = std::mem::take(&mut provider.cipher_suites);
    let (old, new): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|s| matches!(s, SupportedCipherSuite::Tls12(_)));
    provider.cipher_suites = new;
    let chosen = suites
        .iter()
        .filter_map(|wanted| old.iter().find(|s| s.suite() == *wanted));
    provider.cipher_suites.extend(chosen);
    provider
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(select("HIGH:!aNULL:!MD5").len(), 6, "the default");
        assert_eq!(select("ECDHE+CHACHA20").len(), 2);
        assert_eq!(select("ALL:!RSA,-AES128").len(), 2);
        assert_eq!(
            select("ECDHE-RSA-AES128-GCM-SHA256"),
            [CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
        );
        assert_eq!(select("!AES:ALL:@STRENGTH").len(), 2, "banned for good");
        assert!(fits(&KNOWN[2], "CHACHA20") && KNOWN[0].0 == select("ALL")[0]);
        assert_eq!(select("ALL:+AESGCM")[0], KNOWN[2].0);
        for none in ["", "NULL", "aNULL:RC4", "!ALL", ":::", "-"] {
            assert!(select(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn every_known_suite_is_there() {
        let p = provider(&select("ALL"));
        let old = |s: &&SupportedCipherSuite| matches!(s, SupportedCipherSuite::Tls12(_));
        assert_eq!(p.cipher_suites.iter().filter(old).count(), KNOWN.len());
        assert!(!provider(&[]).cipher_suites.is_empty(), "TLS 1.3");
    }
}
