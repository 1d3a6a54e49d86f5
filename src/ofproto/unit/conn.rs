//! Conversations, message by message.

use crate::Pipeline;
use crate::{ConnId, ConnSettings, Controllers, Cx, Meter, Ofproto, PacketPlan, Provider};
use base::clock::Nanos;
use base::sync::Arc;
use flow::{FieldId, Flow, Match, OfPort};
use openflow::flow_mod::{ALL_TABLES, ANY_GROUP};
use openflow::{
    Act, DecodeCx, Duration, EncodeCx, FlowMod, FlowModCommand, FlowStatsRequest, Header, Hello,
    Message, MeterConfig, MeterFeatures, MeterStats, OfpError, PacketOut, PortDesc, Protocols,
    SwitchConfig, Version,
};

/// A datapath that remembers.
#[derive(Default)]
pub(super) struct Datapath {
    pub(super) meters: Vec<MeterConfig>,
    /// Versions at which packets were translated, and the flows that port 6 hit then.
    pub(super) translated: Vec<(u64, usize)>,
    pub(super) tables: Option<Arc<Pipeline>>,
}

impl Provider for Datapath {
    fn translate(&mut self, po: &PacketOut, version: u64) -> Result<PacketPlan, OfpError> {
        let tables = self.tables.as_ref().expect("set by the world");
        let mut flow = Flow::zero();
        flow.in_port = po.metadata.flow.in_port;
        let hit = tables.tables.lookup(0, version, &flow, None);
        self.translated
            .push((version, hit.map_or(0, |r| r.actions.len())));
        Ok(PacketPlan {
            learns: Vec::new(),
            work: Box::new(po.in_port()),
        })
    }
    fn meter_features(&mut self) -> MeterFeatures {
        MeterFeatures {
            max_meters: 10,
            max_bands: 1,
            ..MeterFeatures::default()
        }
    }
    fn meter_set(&mut self, id: Option<u32>, config: &MeterConfig) -> Result<u32, OfpError> {
        if let Some(id) = id {
            self.meters[id as usize] = config.clone();
            return Ok(id);
        }
        self.meters.push(config.clone());
        Ok(u32::try_from(self.meters.len() - 1).expect("few"))
    }
    fn meter_stats(&mut self, _meter: &Meter) -> Option<MeterStats> {
        Some(MeterStats {
            meter_id: 0,
            flow_count: 0,
            packet_in_count: 7,
            byte_in_count: 700,
            duration: Duration::UNKNOWN,
            bands: vec![(1, 100)],
        })
    }
}

/// A switch and its controllers.
pub(super) struct World {
    pub(super) datapath: Datapath,
    pub(super) of: Ofproto,
    pub(super) controllers: Controllers,
    pub(super) now: Nanos,
    xid: u32,
}

impl World {
    pub(super) fn new() -> Self {
        let of = Ofproto::new("br0");
        Self {
            datapath: Datapath {
                tables: Some(Arc::clone(of.pipeline())),
                ..Datapath::default()
            },
            of,
            controllers: Controllers::default(),
            now: Nanos::from_millis(1000),
            xid: 100,
        }
    }

    pub(super) fn with<T>(&mut self, f: impl FnOnce(&mut Controllers, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx {
            of: &mut self.of,
            provider: &mut self.datapath,
            now: self.now,
        };
        f(&mut self.controllers, &mut cx)
    }

    /// A controller that has negotiated `version`.
    pub(super) fn connect(&mut self, settings: ConnSettings, version: Version) -> ConnId {
        let id = self.controllers.open(settings, self.now);
        assert!(matches!(self.read(id, version)[..], [Message::Hello(_)]));
        let hello = Hello {
            versions: version.bit(),
        };
        let bytes = hello.encode(1);
        self.with(|c, cx| c.receive(cx, id, &bytes))
            .expect("a common version");
        id
    }

    /// Everything the switch has for a controller.
    pub(super) fn read(&mut self, id: ConnId, version: Version) -> Vec<Message> {
        let mut out = Vec::new();
        loop {
            let next = self.with(|c, cx| {
                c.run(cx);
                c.output(cx, id)
            });
            match next {
                Some(bytes) => {
                    let cx = DecodeCx {
                        protocol: Some(Protocols::initial(version)),
                        ..DecodeCx::default()
                    };
                    out.push(Message::decode(&bytes, &cx).expect("it speaks properly").1);
                }
                None if self.controllers.has_output(id) => {}
                None => return out,
            }
        }
    }

    pub(super) fn send(&mut self, id: ConnId, version: Version, message: &Message) {
        self.xid += 1;
        let cx = EncodeCx::version_only(version);
        let bytes = message.encode(&cx, self.xid).expect("the version has it");
        assert!(self.controllers.may_receive(id));
        self.with(|c, cx| c.receive(cx, id, &bytes))
            .expect("stays open");
    }

    /// Sends a message and gives what comes back.
    pub(super) fn ask(&mut self, id: ConnId, version: Version, message: &Message) -> Vec<Message> {
        self.send(id, version, message);
        self.read(id, version)
    }
}

pub(super) fn add(port: u64) -> FlowMod {
    let mut fm = FlowMod::new(FlowModCommand::Add);
    fm.match_.set_u64(FieldId::InPort, port);
    fm.table_id = 0;
    fm.acts = vec![Act::Output {
        port: OfPort(2),
        max_len: 0,
    }];
    fm
}

fn all_flows(aggregate: bool) -> Message {
    Message::FlowStatsRequest(Box::new(FlowStatsRequest {
        aggregate,
        match_: Match::catchall(),
        cookie: 0,
        cookie_mask: 0,
        out_port: OfPort::NONE,
        out_group: ANY_GROUP,
        table_id: ALL_TABLES,
    }))
}

pub(super) fn error_of(messages: &[Message]) -> Option<OfpError> {
    messages.iter().find_map(|m| match m {
        Message::Error(e) => e.error,
        _ => None,
    })
}

#[test]
fn versions_are_agreed_on_or_the_connection_ends() {
    let mut w = World::new();
    for version in Version::ALL {
        let id = w.connect(ConnSettings::service("test"), version);
        let echo = Message::EchoRequest(vec![1, 2, 3]);
        let got = w.ask(id, version, &echo);
        assert_eq!(got, [Message::EchoReply(vec![1, 2, 3])]);
        assert_eq!(
            w.ask(id, version, &Message::BarrierRequest),
            [Message::BarrierReply]
        );
    }
    let settings = ConnSettings {
        versions: 1 << 4,
        ..ConnSettings::service("test")
    };
    let id = w.controllers.open(settings.clone(), w.now);
    w.read(id, Version::V13);
    let bytes = Hello { versions: 0x2 }.encode(1);
    assert!(w.with(|c, cx| c.receive(cx, id, &bytes)).is_err());
    assert_eq!(
        error_of(&w.read(id, Version::V10)),
        Some(OfpError::OFPHFC_INCOMPATIBLE)
    );
    let id = w.controllers.open(settings, w.now);
    let bytes = Message::BarrierRequest
        .encode(&EncodeCx::version_only(Version::V13), 1)
        .expect("1.3 has it");
    assert!(w.with(|c, cx| c.receive(cx, id, &bytes)).is_err());
}

#[test]
fn another_version_is_refused_and_the_connection_stays() {
    let mut w = World::new();
    let id = w.connect(ConnSettings::service("test"), Version::V10);
    let cx = EncodeCx::version_only(Version::V11);
    let bytes = Message::FeaturesRequest.encode(&cx, 7).expect("1.1 has it");
    w.with(|c, cx| c.receive(cx, id, &bytes))
        .expect("stays open");
    let mut raw = Vec::new();
    while let Some(bytes) = w.with(|c, cx| c.output(cx, id)) {
        raw.push(bytes);
    }
    let [reply] = &raw[..] else {
        panic!("one error");
    };
    let (header, message) = Message::decode(reply, &DecodeCx::default()).expect("proper");
    assert_eq!((header.version, header.xid), (2, 7));
    assert_eq!(error_of(&[message]), Some(OfpError::OFPBRC_BAD_VERSION));
    assert_eq!(
        w.ask(id, Version::V10, &Message::BarrierRequest),
        [Message::BarrierReply]
    );
}

#[test]
fn features_and_config() {
    let mut w = World::new();
    w.of.settings_mut().datapath_id = 0xfedc_ba98_7654_3210;
    let desc = PortDesc {
        port_no: OfPort::LOCAL,
        name: "br0".to_owned(),
        ..PortDesc::default()
    };
    w.of.put_port(desc, w.now);
    let id = w.connect(ConnSettings::service("test"), Version::V10);
    let got = w.ask(id, Version::V10, &Message::FeaturesRequest);
    let [Message::FeaturesReply(f)] = &got[..] else {
        panic!("one reply");
    };
    assert_eq!(
        (f.datapath_id, f.n_tables, f.n_buffers),
        (0xfedc_ba98_7654_3210, 254, 0)
    );
    assert_eq!((f.ports.len(), f.actions), (1, 0xfff));
    let mut config = SwitchConfig {
        frag: 0,
        invalid_ttl: Some(false),
        miss_send_len: 0,
    };
    let got = w.ask(id, Version::V10, &Message::GetConfigRequest);
    assert_eq!(got, [Message::GetConfigReply(config)]);
    config = SwitchConfig {
        frag: 3,
        invalid_ttl: Some(true),
        miss_send_len: 128,
    };
    w.send(id, Version::V10, &Message::SetConfig(config));
    let got = w.ask(id, Version::V10, &Message::GetConfigRequest);
    assert_eq!(got, [Message::GetConfigReply(config)]);
}

#[test]
fn long_answers_are_made_as_they_are_read() {
    let mut w = World::new();
    let v = Version::V13;
    let id = w.connect(ConnSettings::service("test"), v);
    for port in 0..5000 {
        w.send(id, v, &Message::FlowMod(Box::new(add(port))));
    }
    w.send(id, v, &all_flows(false));
    assert!(!w.controllers.may_receive(id));
    let first = loop {
        if let Some(bytes) = w.with(|c, cx| c.output(cx, id)) {
            break bytes;
        }
    };
    assert!(first.len() > 60_000);
    // A flow that goes before it was told of is not told of.
    let v2 = w.of.pipeline().tables.version();
    let rules = w.of.pipeline().tables.table(0).rules.collect(None, v2);
    w.of.uninstall(&rules[4999], w.now);
    let (header, _) = Message::decode(&first, &DecodeCx::default()).expect("proper");
    assert!(header.more);
    let rest = w.read(id, v);
    let told: usize = std::iter::once(Message::decode(&first, &DecodeCx::default()).expect("").1)
        .chain(rest)
        .map(|m| match m {
            Message::FlowStatsReply(s) => s.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(told, 4999);
    assert!(w.controllers.may_receive(id));
    let got = w.ask(id, v, &all_flows(true));
    let [Message::AggregateReply(sum)] = &got[..] else {
        panic!("one sum");
    };
    assert_eq!(sum.flow_count, 4999);
    // All gone, in pieces.
    let mut del = FlowMod::new(FlowModCommand::Delete);
    del.table_id = ALL_TABLES;
    w.send(id, v, &Message::FlowMod(Box::new(del)));
    assert!(!w.controllers.may_receive(id));
    while w.with(|c, cx| c.run(cx)) {}
    assert_eq!(w.of.state(0).n_flows, 0);
}

#[test]
fn wrong_messages_are_answered_with_their_beginning() {
    let mut w = World::new();
    let v = Version::V13;
    let id = w.connect(ConnSettings::service("test"), v);
    let mut fm = add(1);
    fm.acts = vec![Act::Group(7)];
    let got = w.ask(id, v, &Message::FlowMod(Box::new(fm)));
    assert_eq!(error_of(&got), Some(OfpError::OFPBAC_BAD_OUT_GROUP));
    // A type nobody knows, and cut off at every byte.
    for (bytes, want) in [
        (vec![4, 99, 0, 8, 0, 0, 0, 1], OfpError::OFPBRC_BAD_TYPE),
        (
            vec![4, 18, 0, 16, 0, 0, 0, 1, 0, 99, 0, 0, 0, 0, 0, 0],
            OfpError::OFPBRC_BAD_STAT,
        ),
    ] {
        w.with(|c, cx| c.receive(cx, id, &bytes))
            .expect("stays open");
        assert_eq!(error_of(&w.read(id, v)), Some(want));
    }
    let cx = EncodeCx::version_only(v);
    let whole = Message::FlowMod(Box::new(add(1)))
        .encode(&cx, 1)
        .expect("proper");
    for len in 8..whole.len() {
        let mut cut = whole[..len].to_vec();
        cut[2..4].copy_from_slice(&u16::try_from(len).expect("short").to_be_bytes());
        w.with(|c, cx| c.receive(cx, id, &cut)).expect("stays open");
        // Without its one instruction it is a flow mod too.
        assert_eq!(error_of(&w.read(id, v)).is_some(), len != 64, "at {len}");
    }
    assert!(Header::decode(&whole).is_ok());
}
