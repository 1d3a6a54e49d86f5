//! TLS, with the real tools at the other end: controllers both ways, the database both ways, and what goes wrong named.

use crate::kit::{DropIn, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

/// Two authorities as `ovs-pki` makes them, a certificate of each, and some that are no good.
///
/// * `sc`, `sc-expired`: of the switches' authority; `ctl`, `ctl-expired`: of the controllers'.
/// * `alien`: signed by itself.
fn pki(dir: &Path) {
    let script = r#"
        ovs-pki init --dir=$PWD/pki --log=$PWD/pki.log
        ovs-pki req+sign --dir=$PWD/pki --log=$PWD/pki.log sc switch
        ovs-pki req+sign --dir=$PWD/pki --log=$PWD/pki.log ctl controller
        ca() { cp pki/$1/cacert.pem $1.pem; }
        ca switchca; ca controllerca
        echo basicConstraints=CA:FALSE >v3
        for x in "sc switchca" "ctl controllerca"; do
            set -- $x
            openssl x509 -req -in $1-req.pem -CA pki/$2/cacert.pem -CAkey pki/$2/private/cakey.pem \
                -set_serial 77 -extfile v3 -days -1 -out $1-expired-cert.pem
            cp $1-privkey.pem $1-expired-privkey.pem
        done
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=alien \
            -keyout alien-privkey.pem -out alien-cert.pem
    "#;
    let mut sh = Command::new("sh");
    let done = sh.args(["-exc", script]).current_dir(dir).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "openvswitch-pki and openssl: {said}");
}

/// Options of a tool that shows this certificate and trusts that authority.
fn papers(who: &str, ca: &str) -> String {
    format!("-p {who}-privkey.pem -c {who}-cert.pem -C {ca}.pem")
}

/// Tells the switch its files by the database.
fn set_ssl(d: &DropIn, who: &str, ca: &str) {
    let file = |name: String| d.file(&name).display().to_string();
    let (key, cert) = (
        file(format!("{who}-privkey.pem")),
        file(format!("{who}-cert.pem")),
    );
    d.ask(&format!(
        "ovs-vsctl --no-wait set-ssl {key} {cert} {}",
        file(format!("{ca}.pem"))
    ));
}

/// A bridge with a controller.
fn with_bridge(target: &str) -> DropIn {
    let d = DropIn::start();
    pki(d.dir());
    d.ask(&format!(
        "ovs-vsctl add-br br0 -- set bridge br0 datapath_type=dummy -- set-controller br0 {target}"
    ));
    d
}

/// Starts a real controller; its place among the children.
fn controller(d: &mut DropIn, who: &str) -> usize {
    let args = papers(who, "switchca");
    let args: Vec<&str> = args.split(' ').chain(["pssl:6653"]).collect();
    d.spawn("ovs-testcontroller", &args)
}

#[test]
fn a_controller_is_reached_once_all_papers_are_right() {
    let mut d = with_bridge("ssl:127.0.0.1");
    d.until_logged("stream_ssl|ERR|Private key must be configured to use SSL");
    d.until_logged("stream_ssl|ERR|CA certificate must be configured to use SSL");
    d.until_logged("br0<->ssl:127.0.0.1: connection failed (Protocol not available)");
    set_ssl(&d, "nosuch", "controllerca");
    d.until_logged("nosuch-cert.pem: No such file or directory");
    set_ssl(&d, "sc", "controllerca");

    // Somebody who is not what the switch trusts.
    let wrong = controller(&mut d, "alien");
    d.until_logged("stream_ssl|WARN|SSL_connect: invalid peer certificate: UnknownIssuer");
    d.until_column("controller . status:last_error", "Protocol error");
    d.end(wrong);
    let expired = controller(&mut d, "ctl-expired");
    d.until_logged("stream_ssl|WARN|SSL_connect: invalid peer certificate: Expired");
    d.end(expired);

    controller(&mut d, "ctl");
    d.until_column("controller . is_connected", "true");
}

#[test]
fn controllers_come_in_by_a_door_with_a_guard() {
    let d = with_bridge("pssl:6653:127.0.0.1");
    set_ssl(&d, "sc", "controllerca");
    let show = |papers: &str| {
        let line = format!("{papers} show ssl:127.0.0.1:6653");
        d.tool("ovs-ofctl", &line.split(' ').collect::<Vec<_>>())
    };
    let good = papers("ctl", "switchca");
    until("it is let in", || show(&good).is_ok());
    assert!(show(&good).unwrap().contains("OFPT_FEATURES_REPLY"));
    for (who, why) in [
        ("sc", "SSL_accept: invalid peer certificate: UnknownIssuer"),
        (
            "alien",
            "SSL_accept: invalid peer certificate: UnknownIssuer",
        ),
        (
            "ctl-expired",
            "SSL_accept: invalid peer certificate: Expired",
        ),
    ] {
        assert!(show(&papers(who, "switchca")).is_err(), "{who}");
        d.until_logged(why);
    }
    assert!(
        d.tool("ovs-ofctl", &["show", "tcp:127.0.0.1:6653"])
            .is_err()
    );
    d.until_logged("received OpenFlow data on SSL channel");

    // Many flows, both ways, in records of every size.
    let flows: String = (0..5000)
        .map(|n| format!("ip,nw_dst=10.0.{}.{},actions=drop\n", n / 256, n % 256))
        .collect();
    std::fs::write(d.file("flows"), flows).unwrap();
    d.ask(&format!(
        "ovs-ofctl {good} --bundle add-flows ssl:127.0.0.1:6653 flows"
    ));
    let dump = d.ask(&format!("ovs-ofctl {good} dump-flows ssl:127.0.0.1:6653"));
    assert_eq!(dump.matches("nw_dst=").count(), 5000);

    // The files change while the switch runs: what was right is not any more.
    let trust = |ca: &str| {
        std::fs::copy(d.file(ca), d.file("controllerca.pem")).unwrap();
    };
    trust("alien-cert.pem");
    until("the controllers are not trusted any more", || {
        show(&good).is_err()
    });
    until("the alien is", || {
        show(&papers("alien", "switchca")).is_ok()
    });
    trust("pki/controllerca/cacert.pem");
    until("and again", || show(&good).is_ok());
}

#[test]
fn who_stalls_in_the_handshake_keeps_nobody_out() {
    let d = with_bridge("pssl:6653:127.0.0.1");
    set_ssl(&d, "sc", "controllerca");
    let good = papers("ctl", "switchca");
    let flows = || {
        d.tool(
            "ovs-ofctl",
            &format!("{good} dump-flows ssl:127.0.0.1:6653")
                .split(' ')
                .collect::<Vec<_>>(),
        )
    };
    until("it is let in", || flows().is_ok());
    let pid = d.ns.pid();
    let stalling = base::sync::spawn("stalling", move || {
        crate::kit::enter(pid);
        let begin = |n: usize| {
            let mut s = TcpStream::connect("127.0.0.1:6653").unwrap();
            // A record that is longer than what comes of it: nothing, a byte, its head, some of it.
            let hello = [&[0x16, 3, 1, 0x40, 0][..], &[0; 64]].concat();
            s.write_all(&hello[..[0, 1, 5, 40][n % 4]]).unwrap();
            s
        };
        (0..300).map(begin).collect::<Vec<_>>()
    })
    .unwrap();
    let mut stalling = stalling.join().unwrap();
    for _ in 0..20 {
        assert!(flows().is_ok(), "{}", d.log());
        d.ask("ovs-ofctl dump-flows br0");
        for s in &mut stalling {
            // Those that were turned away refuse it.
            drop(s.write(&[0]));
        }
    }
    // At most so many are kept; the others were told to go.
    let gone = |s: &mut TcpStream| {
        s.set_nonblocking(true).unwrap();
        !matches!(s.read(&mut [0; 64]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
    };
    let kept = stalling.iter_mut().map(gone).filter(|gone| !gone).count();
    assert!(kept <= 64, "{kept}");
}

#[test]
fn the_first_servers_authority_is_fetched_and_kept() {
    let mut d = DropIn::prepare();
    pki(d.dir());
    d.start_database(&[]);
    d.start_switch(&[
        "-psc-privkey.pem",
        "--certificate=sc-cert.pem",
        "--bootstrap-ca-cert=fetched.pem",
    ]);
    d.ask("ovs-vsctl add-br br0 -- set bridge br0 datapath_type=dummy -- set-controller br0 ssl:127.0.0.1:6653");
    let args = papers("ctl", "switchca");
    let args: Vec<&str> = args
        .split(' ')
        .chain(["--peer-ca-cert=controllerca.pem", "pssl:6653"])
        .collect();
    let first = d.spawn("ovs-testcontroller", &args);
    d.until_logged("stream_ssl|INFO|successfully bootstrapped CA cert to fetched.pem");
    d.until_logged("stream_ssl|INFO|Trusting CA cert from fetched.pem (/C=US/ST=CA/O=Open vSwitch/OU=controllerca/CN=OVS");
    d.until_column("controller . is_connected", "true");
    let [fetched, real] = ["fetched.pem", "controllerca.pem"]
        .map(|f| d.ask(&format!("openssl x509 -noout -fingerprint -in {f}")));
    assert_eq!(fetched, real);
    assert!(
        d.log()
            .contains(&real.trim().rsplit('=').next().unwrap().to_lowercase())
    );
    // Another authority is not believed from then on.
    d.end(first);
    controller(&mut d, "alien");
    d.until_logged("SSL_connect: invalid peer certificate: UnknownIssuer");
    d.until_column("controller . is_connected", "false");
}

#[test]
fn the_database_is_reached_by_tls_and_comes_by_itself() {
    let mut d = DropIn::prepare();
    pki(d.dir());
    // It listens, and the switch has its papers from the command line.
    let database = [
        "--remote=pssl:6640",
        "-pctl-privkey.pem",
        "-cctl-cert.pem",
        "-Cswitchca.pem",
    ];
    d.start_database(&database);
    d.start_switch(&[
        "-psc-privkey.pem",
        "-c",
        "sc-cert.pem",
        "-C",
        "controllerca.pem",
        "ssl:127.0.0.1:6640",
    ]);
    d.until_logged("reconnect|INFO|ssl:127.0.0.1:6640: connected");
    let vsctl = format!(
        "ovs-vsctl {} --db=ssl:127.0.0.1:6640",
        papers("sc", "controllerca")
    );
    d.ask(&format!(
        "{vsctl} add-br br0 -- set bridge br0 datapath_type=dummy"
    ));
    assert_eq!(d.ask("ovs-vsctl list-br").trim(), "br0");

    for (passive, active) in [
        ("ptcp:6641:127.0.0.1", "tcp"),
        ("pssl:6641:127.0.0.1", "ssl"),
    ] {
        let mut d = DropIn::prepare();
        pki(d.dir());
        d.start_switch(&[
            "-psc-privkey.pem",
            "-csc-cert.pem",
            "-Ccontrollerca.pem",
            passive,
        ]);
        d.until_logged(&format!("reconnect|INFO|{passive}: listening..."));
        let remote = format!("--remote={active}:127.0.0.1:6641");
        d.start_database(&[&remote, database[1], database[2], database[3]]);
        d.ask("ovs-vsctl add-br br0 -- set bridge br0 datapath_type=dummy");
    }
}
