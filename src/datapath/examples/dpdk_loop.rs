//! The packet loop over two DPDK devices, without the rest of the switch.
//!
//! `cargo run --release -p ringway-datapath --example dpdk_loop -- RULE RX TX [SECONDS]` where RULE is `in_port` or
//! `wildip` and RX, TX are `dpdk-devargs`. Prints packets a microsecond for each half second, and the best.

#![expect(clippy::unwrap_used, reason = "an example")]
#![expect(
    clippy::disallowed_methods,
    reason = "a rate is measured over real time"
)]

use base::clock::Clock;
use base::sync::Arc;
use datapath::{Environment, NetdevProvider, Threading, Topology};
use dpif::{DpifError, FlowPut, Op, PortSpec, Provider, PutFlags};
use flow::{Flow, Mask, Metadata};
use netdev::dummy::{self, DummyLevel};
use netdev::{Config, Device, Provider as _, Registry};
use odp::{Action, OdpPort};
use std::time::Duration;
use wire::{Ipv4, U16, U32};

fn mask(rule: &str) -> Mask {
    let mut m = Mask::empty();
    m.0.in_port = U32::new(u32::MAX);
    m.0.recirc_id = U32::new(u32::MAX);
    m.0.packet_type = U32::new(u32::MAX);
    m.0.dl_type = U16::new(u16::MAX);
    m.0.nw_frag = 0xff;
    if rule == "wildip" {
        m.0.nw_src = Ipv4([255, 0, 0, 0]);
    }
    m
}

fn key(rule: &str) -> Flow {
    let mut data = vec![0u8; 60];
    if rule == "wildip" {
        data[12..14].copy_from_slice(&[8, 0]);
        data[14..18].copy_from_slice(&[0x45, 0, 0, 46]);
        data[22..24].copy_from_slice(&[64, 17]);
        data[26..34].copy_from_slice(&[10, 0, 0, 1, 20, 0, 0, 1]);
    }
    let md = Metadata {
        in_port: 1,
        ..Metadata::default()
    };
    let mut key = Flow::zero();
    flow::extract(&data, &md, &mut key);
    key
}

fn dpdk(name: &str, devargs: &str) -> Arc<dyn Device> {
    let device = netdev::dpdk::DpdkProvider.open(name).unwrap();
    let mut config = Config::new();
    config.insert("dpdk-devargs".to_owned(), devargs.to_owned());
    device.set_config(&config).unwrap();
    device
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [rule, rx, tx, ..] = &args[..] else {
        return println!("dpdk_loop RULE RX TX [SECONDS]");
    };
    let seconds: u64 = args.get(3).map_or(4, |s| s.parse().unwrap());
    let memory =
        std::env::var("DPDK_EXTRA").unwrap_or_else(|_| "--in-memory --no-pci -m 256".to_owned());
    let settings = [
        ("dpdk-init", "true"),
        ("dpdk-lcore-mask", "0x1"),
        ("dpdk-extra", &memory),
    ];
    let settings = settings.map(|(k, v)| (k.to_owned(), v.to_owned()));
    netdev::dpdk::init("dpdk_loop", &settings.into());
    let devargs = [("p1", rx.clone()), ("p2", tx.clone())].map(|(n, d)| (n.to_owned(), d));
    let devargs: Config = devargs.into();
    let registry = Registry::new();
    let dir = std::env::temp_dir();
    let _dummies = dummy::enable(&registry, DummyLevel::Add, Clock::real(), dir).unwrap();
    let provider = NetdevProvider::dummy(Environment {
        clock: Clock::real(),
        open: Arc::new(move |name: &str, class: &str| match devargs.get(name) {
            Some(devargs) => Ok(dpdk(name, devargs)),
            None => registry.open(name, class),
        }),
        threading: Threading::Real,
        topology: Topology::of_host(),
        seed: Some(1),
    });
    let dpif = provider.open("ovs-dummy", true).unwrap();
    let settings = [("pmd-cpu-mask".to_owned(), "0x2".to_owned())];
    dpif.set_config(&settings.into()).unwrap();
    for name in ["p1", "p2"] {
        let spec = PortSpec {
            name: name.to_owned(),
            class: "dpdk".to_owned(),
            number: None,
        };
        dpif.port_add(&spec).unwrap();
    }
    let mut op = [Op::FlowPut(FlowPut {
        flags: PutFlags {
            create: true,
            ..PutFlags::default()
        },
        key: Arc::new(key(rule)),
        mask: Arc::new(mask(rule)),
        ufid: None,
        actions: Arc::new(vec![Action::Output(OdpPort(2))]),
        pmd: None,
        result: Err(DpifError::Again),
    })];
    dpif.operate(&mut op);
    let [Op::FlowPut(put)] = op else { return };
    put.result.unwrap();
    let dp = provider.datapath("ovs-dummy").unwrap();
    let mut best = 0.0f64;
    for _ in 0..seconds * 2 {
        let (a, t) = (dp.ledger_total().forwarded, base::clock::monotonic_ns());
        std::thread::sleep(Duration::from_millis(500));
        let (b, u) = (dp.ledger_total().forwarded, base::clock::monotonic_ns());
        let mpps = (b - a) as f64 * 1000.0 / (u - t) as f64;
        best = best.max(mpps);
        print!("{mpps:.2} ");
    }
    println!("best {best:.2}  {:?}", dp.ledger_total().drops);
}
