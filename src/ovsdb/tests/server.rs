//! The session against a real `ovsdb-server` with the real Open vSwitch schema.

#![expect(clippy::unwrap_used, reason = "a test")]

use base::clock::{Clock, Nanos};
use ovsdb::{Address, Datum, Dial, Event, Row, Session, Transaction};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

struct Server {
    child: Child,
    dir: tempfile::TempDir,
}

impl Server {
    fn start(dir: tempfile::TempDir) -> Self {
        let db = dir.path().join("conf.db");
        if !db.exists() {
            let made = Command::new("ovsdb-tool")
                .arg("create")
                .arg(&db)
                .arg(SCHEMA)
                .status();
            assert!(made.expect("ovsdb-tool from openvswitch-common").success());
        }
        let child = Command::new("ovsdb-server")
            .arg(&db)
            .arg(format!(
                "--remote=punix:{}",
                dir.path().join("db.sock").display()
            ))
            .arg(format!("--unixctl={}", dir.path().join("ctl").display()))
            .args(["--no-chdir", "-vconsole:off"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ovsdb-server from openvswitch-switch");
        Self { child, dir }
    }
    fn session(&self) -> Session {
        let address = Address::parse("unix:db.sock", 6640, self.dir.path()).unwrap();
        let wanted = [
            ("Open_vSwitch", vec![]),
            ("Bridge", vec!["name".to_owned()]),
        ];
        let wanted = wanted.into_iter().map(|(t, c)| (t.to_owned(), c)).collect();
        Session::new(
            (vec![("unix:db.sock".to_owned(), address)], Dial::default()),
            "Open_vSwitch",
            Some("ovs_vswitchd"),
            wanted,
        )
    }
    fn vsctl(&self, args: &[&str]) {
        let db = format!("--db=unix:{}", self.dir.path().join("db.sock").display());
        let done = Command::new("ovs-vsctl")
            .arg(db)
            .arg("--no-wait")
            .args(args)
            .status();
        assert!(done.expect("ovs-vsctl").success());
    }
    fn stop(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs the session until an event satisfies `done`, waiting on its descriptor.
fn until(session: &mut Session, mut done: impl FnMut(&Event) -> bool) -> bool {
    let clock = Clock::real();
    let end = clock.now().plus_millis(20_000);
    while clock.now() < end {
        if session.run(clock.now()).iter().any(&mut done) {
            return true;
        }
        wait(session, clock.now());
    }
    false
}

fn wait(session: &Session, now: Nanos) {
    let mut set = base::poll::PollSet::new();
    session.wait(now, &mut set);
    set.within(std::time::Duration::from_secs(1));
    set.wait();
}

#[test]
fn monitors_locks_transacts_and_comes_back() {
    assert!(Path::new(SCHEMA).exists(), "install openvswitch-common");
    let server = Server::start(tempfile::tempdir().unwrap());
    let mut s = server.session();
    let mut locked = false;
    assert!(until(&mut s, |e| {
        locked |= matches!(e, Event::Lock(true));
        matches!(e, Event::Updated { fresh: true, .. })
    }));
    assert!(locked && s.has_lock());

    server.vsctl(&["init"]);
    server.vsctl(&["add-br", "br0"]);
    assert!(
        until(&mut s, |e| matches!(e, Event::Updated { .. }))
            || s.replica().rows("Bridge").count() == 1
    );
    while s.replica().rows("Bridge").count() == 0 {
        assert!(until(&mut s, |e| matches!(e, Event::Updated { .. })));
    }
    let (_, bridge) = s.replica().rows("Bridge").next().unwrap();
    assert_eq!(bridge["name"].str(), Some("br0"));

    let (uuid, _) = s.replica().singleton("Open_vSwitch").unwrap();
    let mut txn = Transaction::new();
    txn.update(
        "Open_vSwitch",
        uuid,
        &Row::from([("cur_cfg".to_owned(), Datum::one(7))]),
    );
    let id = s.transact(&txn).unwrap();
    assert!(until(
        &mut s,
        |e| matches!(e, Event::Transacted(i, Ok(_)) if *i == id)
    ));
    let bad = Row::from([("cur_cfg".to_owned(), Datum::one("x"))]);
    let mut txn = Transaction::new();
    txn.update("Open_vSwitch", uuid, &bad);
    let id = s.transact(&txn).unwrap();
    assert!(until(
        &mut s,
        |e| matches!(e, Event::Transacted(i, Err(_)) if *i == id)
    ));

    let dir = server.stop();
    assert!(until(&mut s, |e| matches!(e, Event::Disconnected(_))));
    assert_eq!(
        s.replica().rows("Bridge").count(),
        1,
        "a lost server changes nothing"
    );
    let _server = Server::start(dir);
    assert!(until(&mut s, |e| matches!(
        e,
        Event::Updated { fresh: true, .. }
    )));
    assert_eq!(s.replica().rows("Bridge").count(), 1);
}
