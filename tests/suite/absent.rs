//! Databases and controllers that are not there yet, named wrongly, or known by name only: the switch tries again, and
//! says what Open vSwitch says.

use crate::kit::DropIn;

/// Configures a bridge, and waits until it is in force.
fn add_bridge(d: &DropIn) {
    d.ask("ovs-vsctl --timeout=60 add-br br0 -- set bridge br0 datapath_type=dummy");
    assert!(d.ask("ovs-ofctl show br0").contains("LOCAL(br0)"));
}

#[test]
fn a_database_that_comes_later_is_found() {
    let mut d = DropIn::prepare();
    d.start_switch(&[]);
    let socket = format!("unix:{}", d.file("db.sock").display());
    let failed = "connection attempt failed (No such file or directory)";
    d.until_logged(&format!("reconnect|INFO|{socket}: connecting..."));
    d.until_logged(&format!("reconnect|INFO|{socket}: {failed}"));
    d.until_logged(&format!("{socket}: waiting 2 seconds before reconnect"));
    d.start_database(&[]);
    add_bridge(&d);
    d.until_logged("bridge|INFO|ovs-vswitchd (Open vSwitch) 3.1.0");
}

#[test]
fn a_database_is_found_by_name_and_beside_nonsense() {
    let mut d = DropIn::prepare();
    d.start_database(&["--remote=ptcp:6640:127.0.0.1"]);
    d.start_switch(&["foo,tcp:[::1:1,ptcp:xx,tcp:localhost"]);
    // Each is tried in turn: what means nothing is no address of any family, and a name is not known the first time.
    let family = "Address family not supported by protocol";
    add_bridge(&d);
    for line in [
        "stream|WARN|The default OVSDB port number has changed from 6632 to 6640".to_owned(),
        format!("reconnect|INFO|foo: connection attempt failed ({family})"),
        "socket_util|ERR|[::1:1: port must be specified".to_owned(),
        format!("stream_tcp|ERR|tcp:[::1:1: connect: {family}"),
        "socket_util|ERR|xx: bad port number \"xx\"".to_owned(),
        format!("reconnect|INFO|ptcp:xx: listen attempt failed ({family})"),
        format!("stream_tcp|ERR|tcp:localhost:6640: connect: {family}"),
        "reconnect|INFO|tcp:localhost: connected".to_owned(),
    ] {
        assert!(d.log().contains(&line), "{line}");
    }
}

#[test]
fn a_database_that_is_none_is_tried_for_ever() {
    let mut d = DropIn::prepare();
    let switch = d.start_switch(&["nonsense"]);
    d.until_logged("nonsense: waiting 4 seconds before reconnect");
    assert!(d.runs(switch));
    // It can be asked, and told to end, all the while.
    assert!(d.ask("ovs-appctl version").contains("3.1.0"));
    d.ask("ovs-appctl exit");
}

#[test]
fn controllers_by_name() {
    let mut d = DropIn::start();
    d.spawn("ovs-testcontroller", &["ptcp:6653:127.0.0.1"]);
    add_bridge(&d);
    d.ask("ovs-vsctl set-controller br0 tcp:localhost tcp:nobody.invalid:7 foo:bar ptcp:99999");
    d.until_logged("br0<->tcp:localhost: connected");
    let family = "Address family not supported by protocol";
    d.until_logged(&format!(
        "br0<->tcp:localhost: connection failed ({family})"
    ));
    d.until_logged("dns_resolve");
    assert!(d.log().contains("nobody.invalid: failed to resolve"));
    for line in [
        "connmgr|WARN|br0: unsupported controller \"foo:bar\"",
        "connmgr|INFO|br0: added primary controller \"tcp:nobody.invalid:7\"",
        "stream|WARN|The default OpenFlow port number has changed from 6633 to 6653",
        "socket_util|ERR|99999: bad port number \"99999\"",
    ] {
        assert!(d.log().contains(line), "{line}");
    }
    assert!(!d.log().contains("added service controller \"ptcp:99999\""));
}
