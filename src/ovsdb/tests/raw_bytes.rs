//! A server of nobody: what a database server says, cut at every octet, with every value exchanged for one of another
//! kind, with octets flipped, and nested. The session never panics, holds memory in proportion to what it was sent, and
//! comes back to a sound server with the rows that are there. Each crash once found is a line of `cases/crashes.txt`.

#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: a global allocator that counts; it only forwards.

use base::clock::Nanos;
use ovsdb::{Address, Dial, Event, Session};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

thread_local! {
    /// Octets that this thread holds, and the most it held.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

fn count(octets: isize) {
    // A thread that ends has nobody left to count for.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + octets, most.max(now + octets)));
    });
}

// SAFETY: every call is forwarded as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Octets that an octet from a server may take: `0,` becomes a value of 32, in a vector that doubles, and an atom.
const TIMES: usize = 100;
/// And what any connection may take, the room for input among it.
const EVEN_SO: usize = 512 << 10;

/// The most that `work` held at a time.
fn most_held<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.with(|h| {
        let (now, _) = h.get();
        h.set((now, now));
        now
    });
    let result = work();
    let most = HELD.with(|h| h.get().1 - before);
    (result, most.cast_unsigned())
}

const ROW: &str = "550e8400-e29b-41d4-a716-446655440000";
const OTHER: &str = "550e8400-e29b-41d4-a716-446655440001";

fn schema() -> Value {
    let reference =
        json!({"key": {"type": "uuid", "refTable": "Bridge"}, "min": 0, "max": "unlimited"});
    let words = json!({"key": "string", "value": "string", "min": 0, "max": "unlimited"});
    json!({"name": "Open_vSwitch", "version": "8.3.1", "tables": {
        "Open_vSwitch": {"columns": {
            "bridges": {"type": reference}, "next_cfg": {"type": "integer"}, "other_config": {"type": words}}},
        "Bridge": {"columns": {
            "name": {"type": "string", "mutable": false}, "load": {"type": "real"}, "up": {"type": "boolean"},
            "flood_vlans": {"type": {"key": {"type": "integer", "minInteger": 0, "maxInteger": 4095}, "max": 4096}}}},
    }})
}

fn copy() -> Value {
    json!({
        "Open_vSwitch": {ROW: {"initial": {
            "bridges": ["set", [["uuid", OTHER]]], "next_cfg": 7, "other_config": ["map", [["a", "b"]]]}}},
        "Bridge": {OTHER: {"initial": {"name": "br0", "load": 1.5, "up": true, "flood_vlans": ["set", [1, 2]]}}},
    })
}

/// What a server says to the first requests of a session, and two changes.
fn transcript() -> Vec<Value> {
    let reply = |id: u32, result: Value| json!({"id": id, "result": result, "error": null});
    let update = |changes: Value| json!({"id": null, "method": "update3", "params": [["monid", "x"], OTHER, changes]});
    vec![
        reply(1, schema()),
        reply(2, json!({"locked": true})),
        reply(3, json!([false, ROW, copy()])),
        update(
            json!({"Bridge": {OTHER: {"modify": {"up": false, "flood_vlans": ["set", [2, 3]]}}}}),
        ),
        json!({"id": "echo", "method": "echo", "params": []}),
        update(json!({"Bridge": {OTHER: {"delete": null}, ROW: {"insert": {"name": "br1"}}}})),
    ]
}

fn octets(messages: &[Value]) -> Vec<u8> {
    messages
        .iter()
        .map(Value::to_string)
        .collect::<String>()
        .into_bytes()
}

/// A session and the socket where its server is to be.
struct Rig {
    session: Session,
    listener: UnixListener,
    now_ms: u64,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let wanted = ["Open_vSwitch", "Bridge"].map(|t| (t.to_owned(), Vec::new()));
        let remotes = vec![("db".to_owned(), Address::Unix(path))];
        let session = Session::new(
            (remotes, Dial::default()),
            "Open_vSwitch",
            Some("lock"),
            wanted.into_iter().collect(),
        );
        Self {
            session,
            listener,
            now_ms: 0,
            _dir: dir,
        }
    }

    fn turn(&mut self) -> Vec<Event> {
        self.session.run(Nanos::from_millis(self.now_ms))
    }

    /// Lets it connect, however long its pause is.
    fn connected(&mut self) -> UnixStream {
        loop {
            self.turn();
            if let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(true).unwrap();
                return stream;
            }
            self.now_ms += 1000;
        }
    }

    /// Says these octets to a new connection and hangs up; the most memory that was held for it.
    fn lie(&mut self, octets: &[u8]) -> usize {
        let mut server = self.connected();
        let mut said = 0;
        let (_, most) = most_held(|| {
            while said < octets.len() {
                // What does not fit comes later; to one that hung up there is nothing more to say.
                match server.write(&octets[said..]) {
                    Ok(n) => said += n,
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
                self.turn();
            }
        });
        self.turn();
        drop(server);
        self.turn();
        most
    }

    /// A server that answers as it should; the session is to be ready with what is there.
    fn tell_the_truth(&mut self) {
        let mut server = self.connected();
        let mut heard = Vec::new();
        while !self.session.is_ready() {
            self.turn();
            let mut some = [0; 4096];
            while let Ok(n @ 1..) = server.read(&mut some) {
                heard.extend_from_slice(&some[..n]);
            }
            let mut requests = serde_json::Deserializer::from_slice(&heard).into_iter::<Value>();
            let mut answers = String::new();
            for request in requests.by_ref().map_while(Result::ok) {
                let result = match request["method"].as_str().unwrap() {
                    "get_schema" => schema(),
                    "lock" => json!({"locked": true}),
                    "monitor_cond_since" => json!([false, ROW, copy()]),
                    _ => continue,
                };
                answers +=
                    &json!({"id": request["id"], "result": result, "error": null}).to_string();
            }
            let read = requests.byte_offset();
            heard.drain(..read);
            server.write_all(answers.as_bytes()).unwrap();
        }
        assert!(self.session.has_lock());
        let replica = self.session.replica();
        let names: Vec<_> = replica
            .rows("Bridge")
            .map(|(_, r)| r["name"].str().map(str::to_owned))
            .collect();
        assert_eq!(names, [Some("br0".to_owned())]);
        let (_, root) = replica.singleton("Open_vSwitch").unwrap();
        assert_eq!(root["next_cfg"].int(), Some(7));
    }
}

/// One lie, and the truth after it.
fn survives(octets: &[u8]) {
    let mut rig = Rig::new();
    let held = rig.lie(octets);
    assert!(
        held <= octets.len() * TIMES + EVEN_SO,
        "{held} octets for {}",
        octets.len()
    );
    rig.tell_the_truth();
}

#[test]
fn the_transcript_itself_is_understood() {
    let mut rig = Rig::new();
    let mut server = rig.connected();
    server.write_all(&octets(&transcript())).unwrap();
    let events = rig.turn();
    let updates = events.iter().filter(|e| matches!(e, Event::Updated { .. }));
    assert_eq!(updates.count(), 3);
    assert!(rig.session.is_ready() && rig.session.has_lock());
    let replica = rig.session.replica();
    let rows = replica.rows("Bridge");
    let names: Vec<_> = rows
        .map(|(_, r)| r["name"].str().map(str::to_owned))
        .collect();
    assert_eq!(names, [Some("br1".to_owned())]);
    drop(server);
    rig.turn();
    rig.tell_the_truth();
}

#[test]
fn cut_at_every_octet() {
    let all = octets(&transcript());
    for cut in 0..all.len() {
        survives(&all[..cut]);
    }
}

/// Every value within a value: the ways to it.
fn ways(v: &Value, way: &mut Vec<String>, all: &mut Vec<String>) {
    all.push(
        way.iter()
            .map(|w| format!("/{}", w.replace('~', "~0").replace('/', "~1")))
            .collect(),
    );
    let children: Vec<(String, &Value)> = match v {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(n, v)| (n.to_string(), v))
            .collect(),
        Value::Object(m) => m.iter().map(|(k, v)| (k.clone(), v)).collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        way.push(step);
        ways(child, way, all);
        way.pop();
    }
}

#[test]
fn every_value_of_another_kind() {
    let deep = (0..100).fold(json!(1), |v, _| json!([v]));
    let kinds = [
        json!(null),
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e308),
        json!("x"),
        json!([]),
        json!(["set", [["uuid", "x"], 1, "a"]]),
        json!(["map", [["a"], 3, ["a", "b", "c"]]]),
        json!({}),
        json!({"key": {"type": "uuid"}, "min": 5, "max": -1}),
        deep,
    ];
    let sound = Value::Array(transcript());
    let mut all = Vec::new();
    ways(&sound, &mut Vec::new(), &mut all);
    assert!(all.len() > 100);
    for way in all.iter().filter(|w| !w.is_empty()) {
        for kind in &kinds {
            let mut lie = sound.clone();
            *lie.pointer_mut(way).unwrap() = kind.clone();
            survives(&octets(lie.as_array().unwrap()));
        }
    }
}

#[test]
fn much_of_it() {
    let numbers: Vec<u32> = (0..100_000).collect();
    let words: Vec<[String; 2]> = (0..20_000)
        .map(|n| [n.to_string(), "x".to_owned()])
        .collect();
    let nested = format!("{{\"id\":3,\"result\":{}", "[".repeat(100_000));
    let long = "n".repeat(1 << 20);
    for result in [
        json!([false, ROW, {"Bridge": {OTHER: {"initial": {"flood_vlans": ["set", numbers]}}}}]),
        json!([false, ROW, {"Open_vSwitch": {ROW: {"initial": {"other_config": ["map", words]}}}}]),
        json!([false, ROW, {"Bridge": {OTHER: {"initial": {"name": long}}}}]),
    ] {
        let mut lie = transcript();
        lie[2]["result"] = result;
        survives(&octets(&lie));
    }
    let mut lie = octets(&transcript()[..2]);
    lie.extend(nested.into_bytes());
    survives(&lie);
}

#[test]
fn crashes_of_former_times() {
    let lines = include_str!("cases/crashes.txt").lines();
    for line in lines.filter(|l| !l.starts_with('#')) {
        survives(line.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn flipped_spliced_and_lied_about(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        (from, to) in any::<(prop::sample::Index, prop::sample::Index)>(),
        tail: Vec<u8>,
    ) {
        let mut lie = octets(&transcript());
        for (at, octet) in flips {
            let at = at.index(lie.len());
            lie[at] = octet;
        }
        let (from, to) = (from.index(lie.len()), to.index(lie.len()));
        let piece = lie[from.min(to)..from.max(to)].to_vec();
        let at = to.min(from);
        lie.splice(at..at, piece);
        lie.extend(tail);
        survives(&lie);
    }
}
