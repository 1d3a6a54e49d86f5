//! The TOML source of the model.
//!
//! ```toml
//! [switch]                          # settings of the whole switch
//! pmd-cpu-mask = "0x2"
//!
//! [bridge.br0]
//! datapath = "netdev"               # the default
//! fail-mode = "standalone"          # or "secure": without rules nothing is forwarded
//! rules = ["priority=10,in_port=veth0,actions=output:veth1"]
//!
//! [bridge.br0.port.veth0]
//! class = "afxdp"                   # system, tap, internal, patch, ...
//! number = 1                        # OpenFlow port number
//! options = { n_rxq = 1, xdp-mode = "native" }
//! tag = 10                          # with vlan-mode, trunks, cvlans
//! ```
//!
//! A wrong file is refused whole: every fault is named with its line, the key and what was expected.

use crate::model::{
    BridgeModel, InterfaceModel, Model, PortModel, QosModel, QueueModel, RuleText, StringMap,
};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a file.
///
/// # Errors
/// Every fault in it, a line each: `FILE:LINE: KEY: what was expected`.
pub(crate) fn load(path: &Path) -> Result<Model, String> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
    parse(&name, &text)
}

/// Reads a text; `name` is for messages.
///
/// # Errors
/// As [`load`].
pub(crate) fn parse(name: &str, text: &str) -> Result<Model, String> {
    let mut reader = Reader {
        name,
        text,
        faults: Vec::new(),
    };
    let mut model = Model::default();
    match DeTable::parse(text) {
        Ok(root) => reader.root(root.get_ref(), &mut model),
        Err(e) => {
            let line = e.span().map_or(1, |s| reader.line(s.start));
            reader
                .faults
                .push(format!("{name}:{line}: {}", e.message()));
        }
    }
    if reader.faults.is_empty() {
        Ok(model)
    } else {
        Err(reader.faults.join("\n"))
    }
}

/// Walks the tables and collects faults.
struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    faults: Vec<String>,
}

type Value<'i> = Spanned<DeValue<'i>>;
type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;

const VLAN_MODES: &[&str] = &[
    "access",
    "trunk",
    "native-tagged",
    "native-untagged",
    "dot1q-tunnel",
];

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset.min(self.text.len())]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
    }

    fn fault(&mut self, at: usize, key: &str, expected: &str) {
        let line = self.line(at);
        self.faults
            .push(format!("{}:{line}: {key}: {expected}", self.name));
    }

    fn unknown(&mut self, key: &Key<'_>, path: &str, known: &str) {
        self.fault(
            key.span().start,
            &format!("{path}{}", key.get_ref()),
            &format!("unknown key, expected one of {known}"),
        );
    }

    fn root(&mut self, root: &DeTable<'_>, model: &mut Model) {
        for (key, value) in root.iter() {
            match key.get_ref().as_ref() {
                "switch" => model.settings = self.strings(value, "switch"),
                "bridge" => {
                    for (name, table) in self.table(value, "bridge") {
                        let path = format!("bridge.{}", name.get_ref());
                        self.check_name(name, &path);
                        let bridge = self.bridge(table, &path);
                        model.bridges.insert(name.get_ref().to_string(), bridge);
                    }
                }
                _ => self.unknown(key, "", "switch, bridge"),
            }
        }
        self.check_owners(root, model);
    }

    /// No port may belong to two bridges.
    fn check_owners(&mut self, root: &DeTable<'_>, model: &Model) {
        let mut owners = StringMap::new();
        for (bridge, b) in &model.bridges {
            for port in b.ports.keys() {
                if let Some(first) = owners.insert(port.clone(), bridge.clone()) {
                    let at = root.get("bridge").map_or(0, |v| v.span().start);
                    let at = self
                        .text
                        .find(&format!("[bridge.{bridge}.port.{port}]"))
                        .unwrap_or(at);
                    self.fault(
                        at,
                        &format!("bridge.{bridge}.port.{port}"),
                        &format!("port {port} belongs to bridge {first} already"),
                    );
                }
            }
        }
    }

    /// Device and bridge names: 1 to 15 bytes, no slash, no white space.
    fn check_name(&mut self, name: &Key<'_>, path: &str) {
        let n = name.get_ref();
        if n.is_empty()
            || n.len() > 15
            || n.contains(|c: char| c == '/' || c.is_whitespace())
            || n == "."
            || n == ".."
        {
            self.fault(
                name.span().start,
                path,
                "expected a device name of 1 to 15 bytes without slash or blank",
            );
        }
    }

    fn bridge(&mut self, value: &Value<'_>, path: &str) -> BridgeModel {
        let mut b = BridgeModel {
            datapath_type: "netdev".to_owned(),
            rules: Some(Vec::new()),
            ..BridgeModel::default()
        };
        for (key, value) in self.table(value, path) {
            let at = format!("{path}.{}", key.get_ref());
            match key.get_ref().as_ref() {
                "datapath" => {
                    b.datapath_type = self.one_of(value, &at, &["netdev", "dummy", "system"])
                }
                "fail-mode" => {
                    b.fail_mode = Some(self.one_of(value, &at, &["standalone", "secure"]))
                }
                "settings" => b.settings = self.strings(value, &at),
                "flood-vlans" => b.flood_vlans = self.vlans(value, &at),
                "rules" => b.rules = Some(self.rules(value, &at)),
                "port" => {
                    for (name, table) in self.table(value, &at) {
                        let path = format!("{at}.{}", name.get_ref());
                        self.check_name(name, &path);
                        let port = self.port(name.get_ref(), table, &path);
                        b.ports.insert(name.get_ref().to_string(), port);
                    }
                }
                _ => self.unknown(
                    key,
                    &format!("{path}."),
                    "datapath, fail-mode, settings, flood-vlans, rules, port",
                ),
            }
        }
        b
    }

    fn port(&mut self, name: &str, value: &Value<'_>, path: &str) -> PortModel {
        let mut p = PortModel::default();
        let mut i = InterfaceModel::default();
        for (key, value) in self.table(value, path) {
            let at = format!("{path}.{}", key.get_ref());
            match key.get_ref().as_ref() {
                "class" => i.class = self.string(value, &at).unwrap_or_default(),
                "options" => i.options = self.strings(value, &at),
                "number" => i.number = self.number(value, &at, 1, 0xfeff).and_then(|n| u16::try_from(n).ok()),
                "mtu" => i.mtu = self.number(value, &at, 68, 65_535).and_then(|n| u32::try_from(n).ok()),
                "mac" => i.mac = self.mac(value, &at),
                "vlan-mode" => p.vlan_mode = Some(self.one_of(value, &at, VLAN_MODES)),
                "tag" => p.tag = self.number(value, &at, 0, 4095).and_then(|n| u16::try_from(n).ok()),
                "trunks" => p.trunks = self.vlans(value, &at),
                "cvlans" => p.cvlans = self.vlans(value, &at),
                "protected" => p.protected = self.boolean(value, &at),
                "settings" => i.settings = self.strings(value, &at),
                "qos" => p.qos = Some(self.qos(value, &at)),
                "policing" => i.policing = self.policing(value, &at),
                _ => self.unknown(key, &format!("{path}."),
                    "class, options, number, mtu, mac, vlan-mode, tag, trunks, cvlans, protected, settings, qos, \
                     policing"),
            }
        }
        p.settings.clone_from(&i.settings);
        p.interfaces.insert(name.to_owned(), i);
        p
    }

    fn qos(&mut self, value: &Value<'_>, path: &str) -> QosModel {
        let mut q = QosModel::default();
        for (key, value) in self.table(value, path) {
            let at = format!("{path}.{}", key.get_ref());
            match key.get_ref().as_ref() {
                "type" => q.kind = self.string(value, &at).unwrap_or_default(),
                "settings" => q.settings = self.strings(value, &at),
                "queue" => {
                    for (id, value) in self.table(value, &at) {
                        match id.get_ref().parse() {
                            Ok(n) => {
                                let at = format!("{at}.{n}");
                                q.queues.insert(n, self.queue(value, &at));
                            }
                            Err(_) => self.unknown(id, &format!("{at}."), "the number of a queue"),
                        }
                    }
                }
                _ => self.unknown(key, &format!("{path}."), "type, settings, queue"),
            }
        }
        q
    }

    fn queue(&mut self, value: &Value<'_>, path: &str) -> QueueModel {
        let mut q = QueueModel::default();
        for (key, value) in self.table(value, path) {
            let at = format!("{path}.{}", key.get_ref());
            match key.get_ref().as_ref() {
                "dscp" => {
                    q.dscp = self
                        .number(value, &at, 0, 63)
                        .and_then(|n| u8::try_from(n).ok())
                }
                "settings" => q.settings = self.strings(value, &at),
                _ => self.unknown(key, &format!("{path}."), "dscp, settings"),
            }
        }
        q
    }

    /// Rates and bursts of what may come in.
    fn policing(&mut self, value: &Value<'_>, path: &str) -> [u32; 4] {
        const KEYS: [&str; 4] = ["kbits-rate", "kbits-burst", "kpkts-rate", "kpkts-burst"];
        let mut out = [0; 4];
        for (key, value) in self.table(value, path) {
            let name = key.get_ref().as_ref();
            let Some(at) = KEYS.iter().position(|k| *k == name) else {
                self.unknown(key, &format!("{path}."), &KEYS.join(", "));
                continue;
            };
            let n = self.number(value, &format!("{path}.{name}"), 0, u32::MAX.into());
            out[at] = n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        }
        out
    }

    fn rules(&mut self, value: &Value<'_>, path: &str) -> Vec<RuleText> {
        let Some(items) = value.get_ref().as_array() else {
            self.fault(
                value.span().start,
                path,
                "expected an array of rules in ovs-ofctl flow syntax",
            );
            return Vec::new();
        };
        let mut rules = Vec::new();
        for item in items.iter() {
            if let Some(text) = self.string(item, path) {
                rules.push(RuleText {
                    text,
                    line: self.line(item.span().start),
                });
            }
        }
        rules
    }

    fn table<'v, 'i>(
        &mut self,
        value: &'v Value<'i>,
        path: &str,
    ) -> Vec<(&'v Key<'i>, &'v Value<'i>)> {
        if let Some(t) = value.get_ref().as_table() {
            return t.iter().collect();
        }
        self.fault(value.span().start, path, "expected a table");
        Vec::new()
    }

    fn string(&mut self, value: &Value<'_>, path: &str) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.fault(value.span().start, path, "expected a string");
        }
        text
    }

    fn one_of(&mut self, value: &Value<'_>, path: &str, known: &[&str]) -> String {
        let text = value.get_ref().as_str().unwrap_or_default();
        if !known.contains(&text) {
            self.fault(
                value.span().start,
                path,
                &format!("expected one of {}", known.join(", ")),
            );
        }
        text.to_owned()
    }

    fn boolean(&mut self, value: &Value<'_>, path: &str) -> bool {
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.fault(value.span().start, path, "expected true or false");
            false
        })
    }

    fn number(&mut self, value: &Value<'_>, path: &str, min: i64, max: i64) -> Option<i64> {
        let n = integer(value).filter(|n| (min..=max).contains(n));
        if n.is_none() {
            self.fault(
                value.span().start,
                path,
                &format!("expected a number from {min} to {max}"),
            );
        }
        n
    }

    fn mac(&mut self, value: &Value<'_>, path: &str) -> Option<String> {
        let text = value
            .get_ref()
            .as_str()
            .filter(|t| t.parse::<wire::EthAddr>().is_ok());
        if text.is_none() {
            self.fault(
                value.span().start,
                path,
                "expected an Ethernet address such as 02:00:00:00:00:01",
            );
        }
        text.map(str::to_owned)
    }

    fn vlans(&mut self, value: &Value<'_>, path: &str) -> Vec<u16> {
        let Some(items) = value.get_ref().as_array() else {
            self.fault(
                value.span().start,
                path,
                "expected an array of VLANs from 0 to 4095",
            );
            return Vec::new();
        };
        let numbers: Vec<_> = items
            .iter()
            .map(|v| self.number(v, path, 0, 4095))
            .collect();
        numbers
            .into_iter()
            .flatten()
            .filter_map(|n| u16::try_from(n).ok())
            .collect()
    }

    /// A table whose values may be strings, numbers or booleans, all kept as text.
    fn strings(&mut self, value: &Value<'_>, path: &str) -> StringMap {
        let mut out = StringMap::new();
        for (key, value) in self.table(value, path) {
            let at = format!("{path}.{}", key.get_ref());
            let text = match value.get_ref() {
                DeValue::String(s) => s.to_string(),
                DeValue::Boolean(b) => b.to_string(),
                DeValue::Integer(_) => integer(value).map(|n| n.to_string()).unwrap_or_default(),
                _ => {
                    self.fault(
                        value.span().start,
                        &at,
                        "expected a string, number or boolean",
                    );
                    continue;
                }
            };
            out.insert(key.get_ref().to_string(), text);
        }
        out
    }
}

fn integer(value: &Value<'_>) -> Option<i64> {
    let i = value.get_ref().as_integer()?;
    i64::from_str_radix(i.as_str(), i.radix()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_whole_file() {
        let m = parse(
            "f",
            r#"
[switch]
pmd-cpu-mask = "0x2"
max-idle = 500
[bridge.br0]
fail-mode = "secure"
rules = ["in_port=1,actions=2",
         "actions=NORMAL"]
[bridge.br0.port.v0]
class = "afxdp"
number = 1
options = { n_rxq = 2, xdp-mode = "native" }
[bridge.br0.port.v1]
tag = 10
trunks = [1, 2]
"#,
        )
        .unwrap();
        assert_eq!(m.settings["max-idle"], "500");
        let b = &m.bridges["br0"];
        assert_eq!(
            b.rules.as_ref().unwrap()[1],
            RuleText {
                text: "actions=NORMAL".into(),
                line: 8
            }
        );
        assert_eq!(b.ports["v0"].interfaces["v0"].options["n_rxq"], "2");
        assert_eq!(
            (b.ports["v1"].tag, b.ports["v1"].trunks.len()),
            (Some(10), 2)
        );
    }

    #[test]
    fn qos_and_policing_of_a_port() {
        let m = parse(
            "f",
            r#"
[bridge.br0.port.p]
policing = { kbits-rate = 5, kpkts-burst = 7 }
[bridge.br0.port.p.qos]
type = "linux-htb"
settings = { max-rate = 1000 }
queue.3 = { dscp = 46, settings = { min-rate = "5" } }
"#,
        )
        .unwrap();
        let p = &m.bridges["br0"].ports["p"];
        assert_eq!(p.interfaces["p"].policing, [5, 0, 0, 7]);
        let qos = p.qos.as_ref().unwrap();
        assert_eq!(
            (qos.kind.as_str(), qos.settings["max-rate"].as_str()),
            ("linux-htb", "1000")
        );
        assert_eq!(qos.queues[&3].dscp, Some(46));
        let e = parse(
            "f",
            "[bridge.b.port.p]\nqos = { queue = { x = 5, 1 = { dscp = 64 } } }",
        )
        .unwrap_err();
        assert!(
            e.contains("qos.queue.x: unknown key")
                && e.contains("qos.queue.1.dscp: expected a number"),
            "{e}"
        );
    }

    #[test]
    fn faults_name_line_key_and_expectation() {
        let text = "[bridge.br0]\nfail-mod = 1\n[bridge.br0.port.p]\ntag = 5000\nclass = 3\nmac = 'x'\n[bridge.b1.port.p]\n[extra]\n";
        let e = parse("r.toml", text).unwrap_err();
        for wanted in [
            "r.toml:2: bridge.br0.fail-mod: unknown key, expected one of datapath, fail-mode",
            "r.toml:4: bridge.br0.port.p.tag: expected a number from 0 to 4095",
            "r.toml:5: bridge.br0.port.p.class: expected a string",
            "r.toml:6: bridge.br0.port.p.mac: expected an Ethernet address",
            "port p belongs to bridge",
            "r.toml:8: extra: unknown key, expected one of switch, bridge",
        ] {
            assert!(e.contains(wanted), "{wanted}\nin\n{e}");
        }
        assert!(
            parse("r.toml", "a = [")
                .unwrap_err()
                .starts_with("r.toml:1: ")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,80}") {
            drop(parse("f", &text));
            drop(parse("f", &format!("[bridge.b]\nrules = {text}\n")));
        }
    }
}
