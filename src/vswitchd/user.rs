//! `--user=USER[:GROUP]`: the daemon goes on as somebody else, with only the capabilities that ports need.
//!
//! Names are looked up in `/etc/passwd` and `/etc/group`. Identity belongs to a thread, so this is done while there
//! is only one; all later threads inherit it. A monitor stays what it was, and its next daemon changes again.
//! Run, log and database directories must be the new user's, as for Open vSwitch.

use rustix::process::{Gid, Uid};
use rustix::thread as kernel;
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::path::Path;

/// Configuring devices, packet sockets, memory that stays resident, XDP programs.
const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::NET_BROADCAST)
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::PERFMON);

/// Who to become: numbers of user, group and further groups.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// Becomes `USER`, `USER:GROUP` or `:GROUP`. A log that a monitor opened before is handed over, so that it can be
/// opened again.
///
/// # Errors
/// Who or what does not exist, or what the kernel refuses.
pub(crate) fn become_user(spec: &str, log: Option<&Path>) -> Result<(), String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
    let me = kernel_uid();
    let who = look_up(spec, me, &passwd, &group).map_err(|why| format!("--user={spec}: {why}"))?;
    if let Some(log) = log.filter(|l| l.exists()) {
        let handed = std::os::unix::fs::chown(log, Some(who.uid), Some(who.gid));
        handed.map_err(|e| format!("--user={spec}: {}: {e}", log.display()))?;
    }
    change(&who).map_err(|e| format!("--user={spec}: {e}"))
}

fn kernel_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

fn look_up(spec: &str, me: u32, passwd: &str, group: &str) -> Result<Identity, String> {
    let (user, wanted) = spec.split_once(':').unwrap_or((spec, ""));
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let known = passwd.lines().map(fields).find(|f| match f.as_slice() {
        [name, _, uid, ..] if user.is_empty() => uid.parse() == Ok(me) && !name.is_empty(),
        [name, ..] => name == user,
        [] => false,
    });
    let known = known.ok_or_else(|| format!("no user {user:?} in /etc/passwd"))?;
    let number = |at: usize| known.get(at).and_then(|n| n.parse().ok());
    let (uid, own) = (number(2), number(3));
    let (Some(uid), Some(own)) = (uid, own) else {
        return Err(format!("user {user:?} has no numbers in /etc/passwd"));
    };
    let groups: Vec<_> = group.lines().map(fields).collect();
    let gid_of = |f: &Vec<String>| f.get(2).and_then(|n| n.parse::<u32>().ok());
    let gid = match wanted {
        "" => own,
        name => (groups.iter().find(|f| f[0] == name).and_then(gid_of))
            .ok_or_else(|| format!("no group {name:?} in /etc/group"))?,
    };
    let member = |f: &&Vec<String>| (f.get(3)).is_some_and(|m| m.split(',').any(|m| m == known[0]));
    let mut all: Vec<_> = groups.iter().filter(member).filter_map(gid_of).collect();
    all.insert(0, gid);
    Ok(Identity {
        uid,
        gid,
        groups: all,
    })
}

fn change(who: &Identity) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
    let groups: Vec<_> = who.groups.iter().map(|&g| Gid::from_raw(g)).collect();
    kernel::set_thread_groups(&groups)?;
    kernel::set_thread_res_gid(gid, gid, gid)?;
    kernel::set_keep_capabilities(true)?;
    kernel::set_thread_res_uid(uid, uid, uid)?;
    kernel::set_keep_capabilities(false)?;
    // What the kernel or a container withholds from us cannot be kept.
    let kept = KEPT & kernel::capabilities(None)?.permitted;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    kernel::set_capabilities(None, sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\novs:x:64:65::/:/bin/false\nodd:x:y:z\n";
    const GROUP: &str = "root:x:0:\novs:x:65:\nhugetlbfs:x:66:a,ovs\n";

    #[test]
    fn names_become_numbers() {
        let who = |spec: &str| look_up(spec, 0, PASSWD, GROUP);
        let is = |uid, gid, groups: &[u32]| {
            Ok(Identity {
                uid,
                gid,
                groups: groups.to_vec(),
            })
        };
        assert_eq!(who("ovs"), is(64, 65, &[65, 66]));
        assert_eq!(who("ovs:hugetlbfs"), is(64, 66, &[66, 66]));
        assert_eq!(who(":ovs"), is(0, 65, &[65]));
        assert!(who("nobody").unwrap_err().contains("no user \"nobody\""));
        assert!(who("ovs:x").unwrap_err().contains("no group \"x\""));
        assert!(who("odd").is_err());
    }
}
