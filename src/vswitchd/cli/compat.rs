//! The command line of `ovs-vswitchd(8)`.

use crate::options::{Dummy, Options, Source};
use crate::paths;
use std::path::PathBuf;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// Run the daemon.
    Run(Box<Options>),
    /// Print this and be done.
    Print(String),
    /// Print this on standard error and fail.
    Fail(String),
}

/// Long options: name, and whether a value must (`=`), may (`?`) or must not (blank) follow.
const LONG: &[(&str, char)] = &[
    ("help", ' '),
    ("version", ' '),
    ("mlockall", ' '),
    ("unixctl", '='),
    ("detach", ' '),
    ("monitor", ' '),
    ("no-self-confinement", ' '),
    ("no-chdir", ' '),
    ("pidfile", '?'),
    ("overwrite-pidfile", ' '),
    ("user", '='),
    ("verbose", '?'),
    ("log-file", '?'),
    ("syslog-target", '='),
    ("syslog-method", '='),
    ("private-key", '='),
    ("certificate", '='),
    ("ca-cert", '='),
    ("ssl-protocols", '='),
    ("ssl-ciphers", '='),
    ("peer-ca-cert", '='),
    ("bootstrap-ca-cert", '='),
    ("enable-dummy", '?'),
    ("disable-system", ' '),
    ("disable-system-route", ' '),
    ("dpdk", '?'),
    ("dummy-numa", '='),
];

/// Parses arguments (without the program's name).
pub(crate) fn parse(program: &str, args: &[String]) -> Parsed {
    let default = format!("unix:{}", paths::rundir().join("db.sock").display());
    let mut options = Options::new(program, Source::Database(default));
    let mut positional = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let outcome = if arg == "--" {
            positional.extend(rest.by_ref().cloned());
            Ok(())
        } else if let Some(long) = arg.strip_prefix("--") {
            take_long(&mut options, long, &mut rest)
        } else if let Some(spec) = arg.strip_prefix("-v") {
            options.verbose.push(spec.to_owned());
            Ok(())
        } else if let Some((name, attached)) = tls_option(arg) {
            let value = Some(attached.to_owned()).filter(|v| !v.is_empty());
            match value.or_else(|| rest.next().cloned()) {
                Some(value) => apply(&mut options, name, value),
                None => Err(format!("option requires an argument -- '{}'", &arg[1..2])),
            }
        } else if arg == "-h" {
            return Parsed::Print(help(program));
        } else if arg == "-V" {
            return Parsed::Print(version(program));
        } else if arg.starts_with('-') && arg.len() > 1 {
            Err(format!("invalid option -- '{}'", &arg[1..2]))
        } else {
            positional.push(arg.clone());
            Ok(())
        };
        match outcome {
            Ok(()) => {}
            Err(special) if special == "help" => return Parsed::Print(help(program)),
            Err(special) if special == "version" => return Parsed::Print(version(program)),
            Err(why) => return Parsed::Fail(format!("{program}: {why}")),
        }
    }
    match positional.as_slice() {
        [] => {}
        [database] => options.source = Source::Database(database.clone()),
        _ => {
            return Parsed::Fail(format!(
                "{program}: at most one non-option argument accepted; use --help for usage"
            ));
        }
    }
    Parsed::Run(Box::new(options))
}

/// The short options for files of TLS, whose value may follow at once.
fn tls_option(arg: &str) -> Option<(&'static str, &str)> {
    let named = [
        ("-p", "private-key"),
        ("-c", "certificate"),
        ("-C", "ca-cert"),
    ];
    named
        .iter()
        .find_map(|(short, long)| Some((*long, arg.strip_prefix(short)?)))
}

/// Applies one long option. `Err("help")` and `Err("version")` are those options.
fn take_long<'a>(
    options: &mut Options,
    text: &str,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Result<(), String> {
    let (given, mut value) = match text.split_once('=') {
        Some((n, v)) => (n, Some(v.to_owned())),
        None => (text, None),
    };
    // As getopt_long does: any prefix that fits only one option.
    let exact = LONG.iter().find(|(n, _)| *n == given);
    let (name, kind) = match exact {
        Some(found) => *found,
        None => {
            let mut fits = LONG.iter().filter(|(n, _)| n.starts_with(given));
            match (fits.next(), fits.next()) {
                (Some(one), None) => *one,
                (Some(_), Some(_)) => return Err(format!("option '--{given}' is ambiguous")),
                (None, _) => return Err(format!("unrecognized option '--{given}'")),
            }
        }
    };
    match kind {
        ' ' if value.is_some() => {
            return Err(format!("option '--{name}' doesn't allow an argument"));
        }
        '=' if value.is_none() => {
            value = Some(
                rest.next()
                    .cloned()
                    .ok_or_else(|| format!("option '--{name}' requires an argument"))?,
            );
        }
        _ => {}
    }
    apply(options, name, value.unwrap_or_default())
}

fn apply(options: &mut Options, name: &str, value: String) -> Result<(), String> {
    match name {
        "help" | "version" => return Err(name.to_owned()),
        "mlockall" => options.mlockall = true,
        "unixctl" => options.unixctl = Some(PathBuf::from(value)),
        "detach" => options.detach = true,
        "monitor" => options.monitor = true,
        "no-chdir" => options.no_chdir = true,
        "pidfile" => options.pidfile = Some(PathBuf::from(value)),
        "overwrite-pidfile" => options.overwrite_pidfile = true,
        "verbose" => options.verbose.push(value),
        "log-file" => options.log_file = Some(PathBuf::from(value)),
        "enable-dummy" => {
            options.dummy = match value.as_str() {
                "" => Dummy::On,
                "system" => Dummy::System,
                "override" => Dummy::Override,
                other => {
                    return Err(format!("{other}: unknown dummy level"));
                }
            }
        }
        "disable-system" => options.disable_system = true,
        "disable-system-route" => options.disable_system_route = true,
        "dummy-numa" => options.dummy_numa = Some(value),
        "dpdk" => {
            return Err("Using --dpdk to configure DPDK is not supported.".to_owned());
        }
        "syslog-method" => options.syslog_method = Some(value),
        "syslog-target" => options.syslog_target = Some(value),
        "private-key" => options.tls.private_key = Some(PathBuf::from(value)),
        "certificate" => options.tls.certificate = Some(PathBuf::from(value)),
        "ca-cert" | "bootstrap-ca-cert" => {
            options.tls.ca_cert = Some(PathBuf::from(value));
            options.tls.bootstrap = name == "bootstrap-ca-cert";
        }
        "peer-ca-cert" => options.tls.peer_ca_cert = Some(PathBuf::from(value)),
        "ssl-protocols" => options.tls.protocols = Some(value),
        "ssl-ciphers" => options.tls.ciphers = Some(value),
        "user" => options.user = Some(value),
        // Taken for the sake of the peer's scripts; confinement is always on.
        _ => {}
    }
    Ok(())
}

/// The version, in a form that the peer's scripts parse.
pub(crate) fn version(program: &str) -> String {
    format!(
        "{program} (Open vSwitch) 3.1.0\nRingway {}\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn help(program: &str) -> String {
    let rundir = paths::rundir();
    let (rundir, logdir) = (rundir.display(), paths::logdir());
    let logdir = logdir.display();
    format!(
        "\
{program}: Open vSwitch daemon
usage: {program} [OPTIONS] [DATABASE]
where DATABASE is a socket on which ovsdb-server is listening
      (default: \"unix:{rundir}/db.sock\").

Active DATABASE connection methods:
  tcp:HOST:PORT           PORT at remote HOST
  ssl:HOST:PORT           SSL PORT at remote HOST
  unix:FILE               Unix domain socket named FILE
PKI configuration (required to use SSL):
  -p, --private-key=FILE  file with private key
  -c, --certificate=FILE  file with certificate for private key
  -C, --ca-cert=FILE      file with peer CA certificate
  --bootstrap-ca-cert=FILE  file with peer CA certificate to read or create
SSL options:
  --ssl-protocols=PROTOS  list of SSL protocols to enable
  --ssl-ciphers=CIPHERS   list of SSL ciphers to enable

Daemon options:
  --detach                run in background as daemon
  --monitor               creates a process to monitor this daemon
  --user=username[:group] changes the effective daemon user:group
  --no-chdir              do not chdir to '/'
  --pidfile[=FILE]        create pidfile (default: {rundir}/{program}.pid)
  --overwrite-pidfile     with --pidfile, start even if already running

Logging options:
  -vSPEC, --verbose=SPEC   set logging levels
  -v, --verbose            set maximum verbosity level
  --log-file[=FILE]        enable logging to specified FILE
                           (default: {logdir}/{program}.log)
  --syslog-method=(libc|unix:file|udp:ip:port)
                           specify how to send messages to syslog daemon
  --syslog-target=HOST:PORT  also send syslog msgs to HOST:PORT via UDP

Other options:
  --unixctl=SOCKET          override default control socket name
  --mlockall                keep all memory resident
  --enable-dummy[=system|override]  dummy devices, for tests
  -h, --help                display this help message
  -V, --version             display version information
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Parsed {
        parse(
            "ovs-vswitchd",
            &args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_suites_command_line() {
        let Parsed::Run(o) = run(&[
            "--enable-dummy",
            "--disable-system",
            "--disable-system-route",
            "--detach",
            "--no-chdir",
            "--pidfile",
            "--log-file",
            "-vvconn",
            "-vofproto_dpif",
            "-vunixctl",
            "unix:/x/db.sock",
        ]) else {
            panic!("must run");
        };
        assert!(o.detach && o.no_chdir && o.dummy == Dummy::On && o.disable_system);
        assert_eq!(o.verbose, ["vconn", "ofproto_dpif", "unixctl"]);
        assert_eq!(o.pidfile, Some(PathBuf::new()));
        assert_eq!(o.source, Source::Database("unix:/x/db.sock".to_owned()));
    }

    #[test]
    fn faults_are_named() {
        let fails = |args: &[&str], text: &str| {
            assert!(
                matches!(run(args), Parsed::Fail(why) if why.contains(text)),
                "{args:?}"
            );
        };
        fails(&["--nosuch"], "unrecognized option '--nosuch'");
        fails(&["--unixctl"], "'--unixctl' requires an argument");
        fails(&["--detach=x"], "doesn't allow an argument");
        fails(&["a", "b"], "at most one non-option argument accepted");
        fails(&["--enable-dummy=x"], "x: unknown dummy level");
        fails(
            &["--dpdk"],
            "Using --dpdk to configure DPDK is not supported.",
        );
        assert!(matches!(run(&["--user=x:y"]), Parsed::Run(o) if o.user.as_deref() == Some("x:y")));
        assert!(matches!(run(&["--pidf=/x"]), Parsed::Run(o) if o.pidfile == Some("/x".into())));
        assert!(
            matches!(run(&["-V"]), Parsed::Print(_))
                && matches!(run(&["--help"]), Parsed::Print(_))
        );
    }
}
