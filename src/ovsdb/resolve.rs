//! Names of hosts, asked of the system's resolver by a thread of its own, so that nobody waits.
//!
//! The first question for a name is answered "not known" and puts the thread to work; who asks again later (after a
//! pause between two attempts to connect) gets the address. The system does not say how long an answer is good, so it is
//! asked again after [`GOOD_MS`], with the old answer standing meanwhile; about a name that was not found, after
//! [`BAD_MS`].
//!
//! Threads: any may ask; `resolver` asks the system, for one name at a time.

use base::log_rl;
use base::sync::{Arc, Mutex, OnceLock, lock, mpsc};
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

/// How long an answer is taken as good, milliseconds.
const GOOD_MS: u64 = 30_000;
/// How long nobody is asked about a name that was not found, milliseconds: pauses between attempts to connect get longer
/// than that.
const BAD_MS: u64 = 5000;
/// Names that are remembered; beyond, the rest is forgotten first.
const NAMES_MAX: usize = 1024;

static FAILURES: base::log::RateLimit = base::log::RateLimit::new(5, 5);

/// Asks the system; IPv4 before IPv6, as Open vSwitch prefers it.
fn ask_system(host: &str) -> Option<IpAddr> {
    let found: Vec<_> = (host, 0).to_socket_addrs().ok()?.collect();
    let first = found
        .iter()
        .find(|a| a.is_ipv4())
        .or_else(|| found.first())?;
    Some(first.ip())
}

/// The address of a host, as far as known by now.
pub(crate) fn look_up(host: &str) -> Option<IpAddr> {
    static RESOLVER: OnceLock<Resolver> = OnceLock::new();
    let resolver = RESOLVER.get_or_init(|| Resolver::new(ask_system));
    resolver.look_up(host, base::clock::monotonic_ns() / 1_000_000)
}

/// What is known of a name.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    ip: Option<IpAddr>,
    /// When the answer came, milliseconds; `None` before the first one.
    at_ms: Option<u64>,
    /// The thread is at it.
    asked: bool,
}

type Names = Arc<Mutex<BTreeMap<String, Known>>>;

#[derive(Debug)]
struct Resolver {
    names: Names,
    /// `None` when there can be no thread.
    questions: Option<mpsc::Sender<(String, u64)>>,
}

impl Resolver {
    fn new(ask: impl Fn(&str) -> Option<IpAddr> + Send + 'static) -> Self {
        let names = Names::default();
        let (questions, work) = mpsc::channel::<(String, u64)>();
        let answers = Arc::clone(&names);
        let thread = base::sync::spawn("resolver", move || {
            for (host, at_ms) in work {
                let ip = ask(&host);
                if ip.is_none() {
                    log_rl!(FAILURES, WARN, "dns_resolve", "{host}: failed to resolve");
                }
                let known = Known {
                    ip,
                    at_ms: Some(at_ms),
                    asked: false,
                };
                lock(&answers).insert(host, known);
            }
        });
        if let Err(e) = &thread {
            tracing::error!(target: "dns_resolve", "no thread to resolve names: {e}");
        }
        Self {
            names,
            questions: thread.is_ok().then_some(questions),
        }
    }

    fn look_up(&self, host: &str, now_ms: u64) -> Option<IpAddr> {
        let mut names = lock(&self.names);
        let known = names.get(host).copied().unwrap_or_default();
        let good_ms = known.ip.map_or(BAD_MS, |_| GOOD_MS);
        let good = |t| now_ms.saturating_sub(t) < good_ms;
        if known.asked || known.at_ms.is_some_and(good) {
            return known.ip;
        }
        if names.len() >= NAMES_MAX {
            names.retain(|_, k| k.asked);
        }
        let asked = Known {
            asked: true,
            ..known
        };
        names.insert(host.to_owned(), asked);
        drop(names);
        if let Some(q) = &self.questions {
            // The thread lives as long as this does.
            drop(q.send((host.to_owned(), now_ms)));
        }
        known.ip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_once_answers_later_and_asks_again() {
        let (asked, questions) = mpsc::channel();
        let (answer, answers) = mpsc::channel::<Option<IpAddr>>();
        let r = Resolver::new(move |host| {
            asked.send(host.to_owned()).unwrap();
            answers.recv().unwrap()
        });
        // The thread has taken an answer in when it asks the next question.
        let settle = |r: &Resolver, name: &str| {
            r.look_up(name, 0);
            answer.send(None).unwrap();
            assert_eq!(questions.recv().unwrap(), name);
        };
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!(r.look_up("a", 0), None);
        assert_eq!(r.look_up("a", 1), None, "still at it, not asked twice");
        answer.send(Some(one)).unwrap();
        assert_eq!(questions.recv().unwrap(), "a");
        settle(&r, "x");
        assert_eq!(r.look_up("a", 2), Some(one));
        assert_eq!(r.look_up("a", GOOD_MS), Some(one), "the old one stands");
        answer.send(Some(two)).unwrap();
        assert_eq!(questions.recv().unwrap(), "a");
        settle(&r, "y");
        assert_eq!(r.look_up("a", GOOD_MS + 1), Some(two));
        assert_eq!(r.look_up("x", BAD_MS - 1), None, "not found");
        assert_eq!(r.look_up("x", BAD_MS), None, "asked again");
        answer.send(Some(one)).unwrap();
        assert_eq!(questions.recv().unwrap(), "x");
        settle(&r, "z");
        assert_eq!(r.look_up("x", BAD_MS + 1), Some(one));
    }

    #[test]
    fn the_system_knows_localhost() {
        assert_eq!(ask_system("localhost"), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(ask_system(""), None);
    }
}
