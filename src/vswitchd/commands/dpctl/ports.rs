//! `dpctl/add-dp`, `del-dp`, `add-if`, `del-if`, `set-if`: datapaths and their ports.

use super::{Flags, Out, open};
use crate::switch::Switch;
use dpif::{Dpif, OpenMode, PortSpec};
use netdev::{Config, Device, DeviceFlags};
use odp::OdpPort;

/// `NAME[,type=T][,port_no=N][,KEY=VALUE]...`, taken apart.
struct Wanted<'a> {
    name: &'a str,
    class: Option<&'a str>,
    number: Option<OdpPort>,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Wanted<'a> {
    fn parse(text: &'a str, out: &mut Out) -> Option<Self> {
        let mut parts = text.split(',').filter(|p| !p.is_empty());
        let Some(name) = parts.next() else {
            out.fail(
                format_args!("{text} is not a valid network device name"),
                None,
            );
            return None;
        };
        let mut wanted = Self {
            name,
            class: None,
            number: None,
            options: Vec::new(),
        };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key {
                "type" => wanted.class = Some(value),
                "port_no" => wanted.number = Some(OdpPort(value.parse().unwrap_or(0))),
                _ => wanted.options.push((key, value)),
            }
        }
        Some(wanted)
    }
}

/// `dpctl/add-dp dp [iface...]`.
pub(super) fn add_dp(s: &mut Switch, out: &mut Out, f: Flags, args: &[&str]) {
    let (name, type_name) = dpif::registry::parse_name(args[0]);
    match s.dpifs().open(name, type_name, OpenMode::Create) {
        Ok(_) if args.len() > 1 => add_if(s, out, f, args),
        Ok(_) => {}
        Err(e) => out.fail(format_args!("add_dp"), Some(&e)),
    }
}

/// `dpctl/del-dp dp`.
pub(super) fn del_dp(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    if let Some(dpif) = open(s, out, args[0])
        && let Err(e) = dpif.destroy()
    {
        out.fail(format_args!("del_dp"), Some(&e));
    }
}

/// `dpctl/add-if dp iface...`.
pub(super) fn add_if(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let Some(dpif) = open(s, out, args[0]) else {
        return;
    };
    for text in &args[1..] {
        let Some(wanted) = Wanted::parse(text, out) else {
            continue;
        };
        let class = wanted.class.unwrap_or("system");
        let device = match s.registry().open(wanted.name, class) {
            Ok(device) => device,
            Err(e) => {
                let name = wanted.name;
                out.fail(
                    format_args!("{name}: failed to open network device ({e})"),
                    None,
                );
                continue;
            }
        };
        let mut config = Config::default();
        for (key, value) in &wanted.options {
            if config
                .insert((*key).to_owned(), (*value).to_owned())
                .is_some()
            {
                out.complain(format_args!("duplicate \"{key}\" option"), None);
            }
        }
        configure(out, &*device, &config);
        let spec = PortSpec {
            name: wanted.name.to_owned(),
            class: class.to_owned(),
            number: wanted.number,
        };
        if let Err(e) = dpif.port_add(&spec) {
            let what = format_args!("adding {} to {} failed", wanted.name, args[0]);
            out.fail(what, Some(&e));
            continue;
        }
        let up = DeviceFlags {
            up: true,
            ..DeviceFlags::default()
        };
        if let Err(e) = device.update_flags(up, DeviceFlags::default()) {
            let name = wanted.name;
            out.fail(
                format_args!("{name}: failed bringing interface up ({e})"),
                None,
            );
        }
    }
}

fn configure(out: &mut Out, device: &dyn Device, config: &Config) {
    if let Err(e) = netdev::registry::configure(device, config) {
        out.fail(format_args!("{e}"), None);
    }
}

/// `dpctl/set-if dp iface...`.
pub(super) fn set_if(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let Some(dpif) = open(s, out, args[0]) else {
        return;
    };
    for text in &args[1..] {
        if let Some(wanted) = Wanted::parse(text, out) {
            set_one(s, out, (&*dpif, args[0]), &wanted);
        }
    }
}

fn set_one(s: &Switch, out: &mut Out, (dpif, dp): (&dyn Dpif, &str), wanted: &Wanted<'_>) {
    let name = wanted.name;
    let port = match dpif.port_by_name(name) {
        Ok(port) => port,
        Err(e) => {
            out.fail(
                format_args!("{name}: failed to query port in {dp}"),
                Some(&e),
            );
            return;
        }
    };
    let device = match s.registry().open(name, &port.class) {
        Ok(device) => device,
        Err(e) => {
            out.fail(
                format_args!("{name}: failed to open network device ({e})"),
                None,
            );
            return;
        }
    };
    if let Some(class) = wanted.class.filter(|c| *c != port.class) {
        let what = format_args!("{name}: can't change type from {} to {class}", port.class);
        return out.fail(what, None);
    }
    if let Some(number) = wanted.number.filter(|n| *n != port.number) {
        let what = format_args!(
            "{name}: can't change port number from {} to {number}",
            port.number
        );
        return out.fail(what, None);
    }
    if wanted.options.is_empty() {
        return;
    }
    let mut config = device.get_config();
    for (key, value) in &wanted.options {
        if value.is_empty() {
            config.remove(*key);
        } else {
            config.insert((*key).to_owned(), (*value).to_owned());
        }
    }
    configure(out, &*device, &config);
}

/// `dpctl/del-if dp iface...`; a port by number or name.
pub(super) fn del_if(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let Some(dpif) = open(s, out, args[0]) else {
        return;
    };
    for name in &args[1..] {
        let number = match name.parse() {
            Ok(n) => Ok(OdpPort(n)),
            Err(_) => dpif.port_by_name(name).map(|p| p.number),
        };
        let Ok(number) = number else {
            out.fail(format_args!("no port named {name}"), None);
            continue;
        };
        if let Err(e) = dpif.port_del(number) {
            out.fail(
                format_args!("deleting port {name} from {} failed", args[0]),
                Some(&e),
            );
        }
    }
}
