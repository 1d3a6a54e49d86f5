//! Text of `tnl_push(...)`: the outer header, taken apart.

use super::OdpNames;
use super::format::put_port;
use super::geneve::{put_geneve_options, scan_geneve_options};
use super::put::{AltHex, put};
use super::scan::Scan;
use crate::action::{TunnelPush, VportType};
use smallvec::SmallVec;
use wire::{EthAddr, Ipv4, Ipv6};

const ETH_IP: u16 = 0x0800;
const ETH_TEB: u16 = 0x6558;
const GRE_CSUM: u16 = 0x8000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQ: u16 = 0x1000;
/// Largest header a push can have, bytes.
const HEADER_MAX: usize = 512;

/// The bytes of a header, zeroes where it ends too early.
struct Header<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Header<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let n = rest.len().min(N);
        out[..n].copy_from_slice(&rest[..n]);
        self.at += N;
        out
    }
    fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.take())
    }
    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }
}

pub(super) fn put_tnl_push(out: &mut String, push: &TunnelPush, names: &dyn OdpNames) {
    out.push_str("tnl_push(tnl_port(");
    put_port(out, push.tnl_port, names);
    out.push_str("),");
    put_header(out, push);
    out.push_str(",out_port(");
    put_port(out, push.out_port, names);
    out.push_str("))");
}

fn put_header(out: &mut String, push: &TunnelPush) {
    let mut h = Header {
        bytes: &push.header,
        at: 0,
    };
    let (dst, src, eth_type) = (EthAddr(h.take()), EthAddr(h.take()), h.u16());
    put!(
        out,
        "header(size={},type={},",
        push.header.len(),
        push.tnl_type
    );
    put!(out, "eth(dst={dst},src={src},dl_type={eth_type:#06x}),");
    if eth_type == ETH_IP {
        put_ipv4(out, &mut h);
    } else {
        put_ipv6(out, &mut h);
    }
    match VportType(push.tnl_type) {
        VportType::VXLAN => {
            put_udp(out, &mut h);
            let flags = h.u32();
            put!(out, "vxlan(flags={flags:#x},vni={:#x})", h.u32() >> 8);
        }
        VportType::GENEVE => {
            put_udp(out, &mut h);
            put_geneve(out, &mut h);
        }
        VportType::GRE | VportType::IP6GRE => put_gre(out, &mut h),
        VportType::ERSPAN | VportType::IP6ERSPAN => put_erspan(out, &mut h),
        VportType::GTPU => {
            put_udp(out, &mut h);
            let (flags, msgtype) = (h.u8(), h.u8());
            h.u16();
            put!(
                out,
                "gtpu(flags={flags:#x},msgtype={msgtype},teid={:#x})",
                h.u32()
            );
        }
        _ => {}
    }
    out.push(')');
}

fn put_ipv4(out: &mut String, h: &mut Header<'_>) {
    let [_, tos, _, _, _, _, f0, f1, ttl, proto, _, _] = h.take();
    let (src, dst) = (Ipv4(h.take()), Ipv4(h.take()));
    let (tos, frag) = (AltHex(tos.into()), u16::from_be_bytes([f0, f1]));
    put!(
        out,
        "ipv4(src={src},dst={dst},proto={proto},tos={tos},ttl={ttl},frag={frag:#x}),"
    );
}

fn put_ipv6(out: &mut String, h: &mut Header<'_>) {
    let (flow, _) = (h.u32(), h.u16());
    let (proto, hlimit) = (h.u8(), h.u8());
    let (src, dst) = (Ipv6(h.take()), Ipv6(h.take()));
    let (label, tclass) = (flow & 0xf_ffff, flow >> 20 & 0xff);
    put!(
        out,
        "ipv6(src={src},dst={dst},label={label},proto={proto},tclass={tclass:#x}"
    );
    put!(out, ",hlimit={hlimit}),");
}

fn put_udp(out: &mut String, h: &mut Header<'_>) {
    let (src, dst, _, csum) = (h.u16(), h.u16(), h.u16(), h.u16());
    put!(out, "udp(src={src},dst={dst},csum={csum:#x}),");
}

fn put_geneve(out: &mut String, h: &mut Header<'_>) {
    let [len, bits, _, _] = h.take();
    let vni = h.u32() >> 8;
    let oam = if bits & 0x80 != 0 { "oam," } else { "" };
    let critical = if bits & 0x40 != 0 { "crit," } else { "" };
    put!(out, "geneve({oam}{critical}vni={vni:#x}");
    let n = usize::from(len & 0x3f) * 4;
    if n > 0 {
        let all = h.bytes.get(h.at..).unwrap_or_default();
        out.push_str(",options(");
        put_geneve_options(out, all.get(..n).unwrap_or(all));
        out.push(')');
    }
    out.push(')');
}

fn put_gre(out: &mut String, h: &mut Header<'_>) {
    let (flags, proto) = (h.u16(), h.u16());
    put!(out, "gre((flags={flags:#x},proto={proto:#x})");
    if flags & GRE_CSUM != 0 {
        put!(out, ",csum={:#x}", h.u32() >> 16);
    }
    if flags & GRE_KEY != 0 {
        put!(out, ",key={:#x}", h.u32());
    }
    if flags & GRE_SEQ != 0 {
        put!(out, ",seq={:#x}", h.u32());
    }
    out.push(')');
}

fn put_erspan(out: &mut String, h: &mut Header<'_>) {
    let _gre: [u8; 8] = h.take();
    let [version, _, s0, s1] = h.take();
    let sid = u16::from_be_bytes([s0, s1]) & 0x3ff;
    match version >> 4 {
        1 => put!(out, "erspan(ver=1,sid={sid:#x},idx={:#x})", h.u32()),
        2 => {
            let [_, _, _, _, _, _, a, b] = h.take();
            let (dir, hwid) = (b >> 3 & 1, (a & 3) << 4 | b >> 4);
            put!(out, "erspan(ver=2,sid={sid:#x},dir={dir},hwid={hwid:#x})");
        }
        _ => {}
    }
}

/// `tnl_push(...)`; the word has been read, the closing parenthesis is taken.
pub(super) fn scan_tnl_push(s: &mut Scan<'_>) -> Option<TunnelPush> {
    s.lit("tnl_port(")?;
    let tnl_port = s.port()?;
    s.lit("),header(size=")?;
    let size = s.u32()?;
    s.lit(",type=")?;
    let tnl_type = s.u32()?;
    let mut header = SmallVec::new();
    s.lit(",")?;
    let v4 = scan_outer(s, &mut header)?;
    let found = scan_tunnel_header(s, &mut header, v4)?;
    s.lit(")),out_port(")?;
    let out_port = s.port()?;
    s.lit("))")?;
    let good = found.0 == tnl_type && header.len() == size as usize && header.len() <= HEADER_MAX;
    good.then_some(TunnelPush {
        tnl_port,
        out_port,
        tnl_type,
        header,
    })
}

type Bytes = SmallVec<[u8; 128]>;

/// Ethernet and IP; true when it is IPv4.
fn scan_outer(s: &mut Scan<'_>, out: &mut Bytes) -> Option<bool> {
    s.lit("eth(dst=")?;
    out.extend(s.eth()?.0);
    s.lit(",src=")?;
    out.extend(s.eth()?.0);
    s.lit(",dl_type=")?;
    let eth_type = s.hex()? as u16;
    out.extend(eth_type.to_be_bytes());
    s.lit("),")?;
    if eth_type == ETH_IP {
        scan_ipv4(s, out)?;
    } else {
        scan_ipv6(s, out)?;
    }
    Some(eth_type == ETH_IP)
}

fn scan_ipv4(s: &mut Scan<'_>, out: &mut Bytes) -> Option<()> {
    s.lit("ipv4(src=")?;
    let src = s.ipv4()?;
    s.lit(",dst=")?;
    let dst = s.ipv4()?;
    s.lit(",proto=")?;
    let proto = s.u8()?;
    s.lit(",tos=")?;
    let tos = s.u8()?;
    s.lit(",ttl=")?;
    let ttl = s.u8()?;
    s.lit(",frag=")?;
    let [f0, f1] = (s.hex()? as u16).to_be_bytes();
    s.lit("),")?;
    let mut ip = [0; 20];
    ip[..12].copy_from_slice(&[0x45, tos, 0, 0, 0, 0, f0, f1, ttl, proto, 0, 0]);
    ip[12..16].copy_from_slice(&src.0);
    ip[16..].copy_from_slice(&dst.0);
    let sum: u32 = ip
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    ip[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    out.extend(ip);
    Some(())
}

fn scan_ipv6(s: &mut Scan<'_>, out: &mut Bytes) -> Option<()> {
    s.lit("ipv6(src=")?;
    let src = s.ipv6()?;
    s.lit(",dst=")?;
    let dst = s.ipv6()?;
    s.lit(",label=")?;
    let label = s.u32().filter(|l| l >> 20 == 0)?;
    s.lit(",proto=")?;
    let proto = s.u8()?;
    s.lit(",tclass=")?;
    let tclass = u32::from(s.hex()? as u8);
    s.lit(",hlimit=")?;
    let hlimit = s.u8()?;
    s.lit("),")?;
    out.extend((6 << 28 | tclass << 20 | label).to_be_bytes());
    out.extend([0, 0, proto, hlimit]);
    out.extend(src.0.into_iter().chain(dst.0));
    Some(())
}

/// The tunnel's own header, without the parenthesis that closes it; says which type it is.
fn scan_tunnel_header(s: &mut Scan<'_>, out: &mut Bytes, v4: bool) -> Option<VportType> {
    if s.is("gre((flags=") {
        scan_gre(s, out)?;
        return Some(if v4 {
            VportType::GRE
        } else {
            VportType::IP6GRE
        });
    }
    if s.is("erspan(ver=") {
        scan_erspan(s, out)?;
        return Some(if v4 {
            VportType::ERSPAN
        } else {
            VportType::IP6ERSPAN
        });
    }
    s.lit("udp(src=")?;
    out.extend(s.u16()?.to_be_bytes());
    s.lit(",dst=")?;
    out.extend(s.u16()?.to_be_bytes());
    s.lit(",csum=")?;
    out.extend([0; 2]);
    out.extend((s.hex()? as u16).to_be_bytes());
    s.lit("),")?;
    match s.word(&['('])? {
        "vxlan" => {
            s.lit("(flags=")?;
            out.extend((s.hex()? as u32).to_be_bytes());
            s.lit(",vni=")?;
            out.extend(((s.hex()? as u32) << 8).to_be_bytes());
            Some(VportType::VXLAN)
        }
        "geneve" => scan_geneve(s, out).map(|()| VportType::GENEVE),
        "gtpu" => {
            s.lit("(flags=")?;
            out.push(s.u8()?);
            s.lit(",msgtype=")?;
            out.extend([s.u8()?, 0, 0]);
            s.lit(",teid=")?;
            out.extend((s.hex()? as u32).to_be_bytes());
            Some(VportType::GTPU)
        }
        _ => None,
    }
}

fn scan_geneve(s: &mut Scan<'_>, out: &mut Bytes) -> Option<()> {
    s.lit("(")?;
    let oam = u8::from(s.is("oam,")) << 7;
    let critical = u8::from(s.is("crit,")) << 6;
    s.lit("vni=")?;
    let vni = s.u32()? << 8;
    let options = if s.is(",options(") {
        scan_geneve_options(s)?
    } else {
        Vec::new()
    };
    out.extend([(options.len() / 4) as u8, oam | critical]);
    out.extend(ETH_TEB.to_be_bytes());
    out.extend(vni.to_be_bytes());
    out.extend(options);
    Some(())
}

fn scan_gre(s: &mut Scan<'_>, out: &mut Bytes) -> Option<()> {
    let flags = s.hex()? as u16;
    out.extend(flags.to_be_bytes());
    s.lit(",proto=")?;
    out.extend((s.hex()? as u16).to_be_bytes());
    s.lit(")")?;
    for (flag, name, shift) in [
        (GRE_CSUM, ",csum=", 16),
        (GRE_KEY, ",key=", 0),
        (GRE_SEQ, ",seq=", 0),
    ] {
        if flags & flag != 0 {
            s.lit(name)?;
            out.extend(((s.hex()? as u32) << shift).to_be_bytes());
        }
    }
    Some(())
}

fn scan_erspan(s: &mut Scan<'_>, out: &mut Bytes) -> Option<()> {
    let version = s.u8()?;
    s.lit(",sid=")?;
    let sid = s.hex()? as u16 & 0x3ff;
    let proto: u16 = if version == 1 { 0x88be } else { 0x22eb };
    out.extend(GRE_SEQ.to_be_bytes());
    out.extend(proto.to_be_bytes());
    out.extend([0, 0, 0, 0, version << 4, 0]);
    out.extend(sid.to_be_bytes());
    if version == 1 {
        s.lit(",idx=")?;
        out.extend((s.hex()? as u32).to_be_bytes());
        return Some(());
    }
    if version != 2 {
        return None;
    }
    s.lit(",dir=")?;
    let dir = s.u8()? & 1;
    s.lit(",hwid=")?;
    let hwid = s.hex()? as u8;
    out.extend([0, 0, 0, 0, 0, 0, hwid >> 4 & 3, hwid << 4 | dir << 3]);
    Some(())
}
