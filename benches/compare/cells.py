"""The workloads: those of issue 4's table, one class for each kind of ports.

A cell makes its contestants (`start`), gives them turns (`turn`, `finish`) and says what the figure is.
"""
import os, random, re, statistics, struct, time
from contestants import CACHES, Contestant, Switch, Testpmd
from host import Failed, read, wait_for

OVS_DPDK = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SIZES = {"1": 1, "1k": 1000, "10k": 10_000, "100k": 100_000}


class Cell:
    """One workload; figures are packets a microsecond unless a cell says otherwise."""
    unit, smaller_is_better, huge, reach = "Mpps", False, 0, None
    # Turns of the switches, as a multiple of what was asked for, and the length of one.
    turns, length = 1, 1
    # Which name each switch runs under is fixed; the peer may be another binary for DPDK.
    dpdk = True

    def __init__(self, name, reach=None):
        self.name, self.reach = name, reach
        self.setting, self.trials, self.notes = None, {}, []

    def start(self, options, work):
        """Makes the contestants, one after the other."""
        yield self.switch("ringway", options.ringway, work)
        yield self.switch("ovs", OVS_DPDK if self.dpdk else options.ovs, work)

    def warm(self, contestant, options):
        if self.turn(contestant, options, 0.5) <= 0:
            raise Failed(f"{contestant.name} forwards nothing")

    def finish(self, contestants, rates):
        """After the last turn: further figures under names of their own."""
        return {}

    def dpdk_settings(self):
        return {"dpdk-init": "true", "dpdk-lcore-mask": "0x1", "dpdk-extra": f"--in-memory --no-pci -m {self.memory}"}


class Veth(Cell):
    """Two AF_XDP ports on veth pairs; `ringway pktgen` sends on core 0, the kernel counts what arrives."""
    dpdk = False

    def __init__(self, name, copies, reach, limit):
        super().__init__(name, reach)
        self.rules, self.limit = ["in_port=1,actions=" + ",".join(["output:2"] * copies)], limit

    def switch(self, name, binary, work):
        switch = Switch(name, work, binary, {}, veth=True)
        yield switch
        switch.up([(f"s{i}", "afxdp", {"xdp-mode": "native"}) for i in (0, 1)], self.rules)

    def start(self, options, work):
        yield from super().start(options, work)
        if self.limit:
            yield self.testpmd(work)

    def testpmd(self, work):
        testpmd = Testpmd("testpmd", work, [f"net_af_xdp{i},iface=s{i}" for i in (0, 1)],
                          memory=("--no-huge", "--no-shconf", "-m", "512"), veth=True)
        yield testpmd
        testpmd.ask("start")

    def turn(self, contestant, options, seconds):
        return contestant.veth_rate(options.ringway, seconds)


class Dpdk(Cell):
    """DPDK's null or pcap device (which repeats its file) to a null device."""

    def __init__(self, name, flows, rules, reach, caches=None, limit=False):
        super().__init__(name, reach)
        self.flows, self.rules, self.limit = flows, rules, limit
        # The peer's cache settings to try; the best of them counts.
        self.caches = caches or list(CACHES)
        self.memory = 1024 if flows <= 10_000 else 2048
        self.huge = 2 * self.memory + (1024 if limit else 0)

    def vdevs(self, work):
        sink = "net_null1,size=64,no-rx=1"
        if not self.flows:
            return ["net_null0,size=64,copy=0", sink]
        return [f"net_pcap0,rx_pcap={capture(os.path.dirname(work), self.flows)},infinite_rx=1", sink]

    def switch(self, name, binary, work):
        switch = Switch(name, work, binary, self.dpdk_settings())
        yield switch
        ports = [(f"p{i}", "dpdk", {"dpdk-devargs": v}) for i, v in enumerate(self.vdevs(work))]
        switch.up(ports, self.rules())

    def start(self, options, work):
        yield from super().start(options, work)
        if self.limit:
            yield self.testpmd(work)

    def testpmd(self, work):
        # infinite_rx holds one buffer of the device's own pool for each packet of the file.
        testpmd = Testpmd("testpmd", work, self.vdevs(work), mbufs=max(65536, int(self.flows * 1.1) + 40_000))
        yield testpmd
        testpmd.ask("start")

    def warm(self, contestant, options):
        if contestant.name == "ovs":
            for setting in self.caches if len(self.caches) > 1 else ():
                contestant.set_caches(setting)
                contestant.settle()
                self.trials[setting] = round(contestant.rate(0.7), 3)
            self.setting = max(self.trials, key=self.trials.get) if self.trials else self.caches[0]
            contestant.set_caches(self.setting)
        if isinstance(contestant, Switch):
            contestant.settle()
        super().warm(contestant, options)

    def turn(self, contestant, options, seconds):
        if isinstance(contestant, Testpmd):
            return contestant.rate(seconds, [1], 1)
        return contestant.rate(seconds)


class Vhost(Cell):
    """Two vhost-user ports; testpmd's virtio-user ports, one for each, send on core 0 and count what comes back.

    The figures go by what a cache line takes from one core to the other, which the host of a virtual machine changes
    by the minute. Hence many short turns.
    """
    turns, length = 3, 0.5

    def __init__(self, name, flows, rules, reach):
        super().__init__(name, reach)
        self.flows, self.rules = flows, rules
        self.memory, self.huge = 1024, 2 * 1024 + 2 * 512

    def switch(self, name, binary, work):
        both = Pair(Switch(name, work, binary, self.dpdk_settings() if name == "ovs" else {}))
        yield both
        sockets = [f"{both.dir}/vu{i}" for i in (0, 1)]
        # virtio-user as the server waits in its start until the switch has connected.
        both.generator = Testpmd(f"{name}-gen", work, [
            f"net_virtio_user{i},path={s},server=1,queues=1,queue_size=1024" for i, s in enumerate(sockets)], cores="0",
            mode="flowgen", memory=("--in-memory", "-m", "512", "--single-file-segments"), mbufs=32768,
            more=[f"--flowgen-flows={self.flows}"])
        both.switch.up([(f"v{i}", "dpdkvhostuserclient", {"vhost-server-path": s}) for i, s in enumerate(sockets)], self.rules)
        both.generator.ask(seconds=60)
        for i in (0, 1):
            wait_for(f"{name}: link of v{i}", lambda: both.switch.vsctl("get", "interface", f"v{i}", "link_state").strip() == "up")
        both.generator.ask("start")

    def turn(self, contestant, options, seconds):
        contestant.check()
        return contestant.generator.rate(seconds, [0, 1], 0)


class Pair(Contestant):
    """A switch and the generator at its ports."""

    def __init__(self, switch):
        self.name, self.dir, self.switch, self.generator = switch.name, switch.dir, switch, None

    @property
    def turning(self):
        return self.switch.turning + self.generator.turning

    def check(self):
        self.switch.check()
        self.generator.check()

    def close(self):
        self.switch.close()
        if self.generator:
            self.generator.close()


class Setup(Cell):
    """200,000 datapath flows, one for each 5-tuple: how fast they are set up, and what memory each takes.

    A rule that copies the 5-tuple into registers makes a datapath flow of each. A turn is one fill.
    """
    unit, turns = "kflows/s", 0.5
    flows = 200_000
    move = ("move:NXM_OF_IP_SRC[]->NXM_NX_REG0[],move:NXM_OF_IP_DST[]->NXM_NX_REG1[],"
            "move:NXM_OF_UDP_SRC[]->NXM_NX_REG2[0..15],move:NXM_OF_UDP_DST[]->NXM_NX_REG2[16..31]")

    def __init__(self, name, reach, memory_name, memory_reach):
        super().__init__(name, reach)
        self.memory, self.huge = 2048, 2 * 2048
        self.memory_name, self.memory_reach, self.resident = memory_name, memory_reach, {}

    def switch(self, name, binary, work):
        switch = Switch(name, work, binary, self.dpdk_settings())
        yield switch
        path = capture(os.path.dirname(work), self.flows)
        switch.up([("p1", "dpdk", {"dpdk-devargs": f"net_pcap0,rx_pcap={path},infinite_rx=1"}),
                   ("n2", "dpdk", {"dpdk-devargs": "net_null2,size=64,no-rx=1"})], ["in_port=1,actions=drop"])
        time.sleep(2)
        self.resident[name] = resident(switch.pid)

    def current(self, switch):
        return int(re.search(r"current (\d+)", switch.appctl("upcall/show")).group(1))

    def warm(self, contestant, options):
        pass

    def turn(self, switch, options, seconds):
        switch.ofctl("del-flows", "br0", "in_port=1,udp")
        end = time.monotonic() + 20
        while self.current(switch) > 10 and time.monotonic() < end:
            switch.appctl("revalidator/purge")      # exact flows would stay, with a new action
            time.sleep(0.3)
        time.sleep(0.5)
        seen, begun = [], time.perf_counter()
        switch.ofctl("add-flow", "br0", f"in_port=1,udp,priority=65535,actions={self.move},output:2")
        while not seen or seen[-1][1] < 0.995 * self.flows:
            if time.perf_counter() > begun + 60:
                raise Failed(f"{switch.name}: only {seen[-1][1]} flows after 60 s")
            seen.append((time.perf_counter() - begun, self.current(switch)))
            time.sleep(0.005)
        low = next(s for s in seen if s[1] > 0.02 * self.flows)
        high = next(s for s in seen if s[1] > 0.9 * self.flows)
        if high == low:
            low = (0, 0)
        return (high[1] - low[1]) / (high[0] - low[0]) / 1e3

    def finish(self, contestants, rates):
        each = {}
        for c in contestants:
            c.go()
            time.sleep(3)
            each[c.name] = [(resident(c.pid) - self.resident[c.name]) / max(self.current(c), 1)]
            c.halt()
        return {self.memory_name: dict(rates=each, unit="bytes", smaller_is_better=True, reach=self.memory_reach)}


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", read(f"/proc/{pid}/status")).group(1)) * 1024


def flow(i):
    """Addresses and ports of UDP flow number i."""
    return 0x0A000000 | i & 0xFFFFF, 0xC0A80000 | i * 7 & 0xFFFF, 1024 + i * 13 % 60000, 1024 + i * 31 % 60000


def dotted(address):
    return ".".join(str(b) for b in struct.pack(">I", address))


def capture(directory, flows):
    """The path of a capture of one 60-octet frame of each flow, in random order."""
    path = f"{directory}/flows-{flows}.pcap"
    if os.path.exists(path):
        return path
    order = list(range(flows))
    random.Random(5).shuffle(order)
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for i in order:
            src, dst, sport, dport = flow(i)
            ip = struct.pack(">BBHHHBBHII", 0x45, 0, 46, 0, 0, 64, 17, 0, src, dst)
            total = sum(struct.unpack(">10H", ip))
            total = (total & 0xFFFF) + (total >> 16)
            ip = ip[:10] + struct.pack(">H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + ip[12:]
            frame = bytes.fromhex("0200000000020200000000010800") + ip + struct.pack(">HHHH", sport, dport, 26, 0) + bytes(18)
            f.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
    return path


def exact(flows):
    """One rule for each flow, all of one mask."""
    def rules():
        for i in range(flows):
            src, dst, sport, dport = flow(i)
            yield (f"priority=10,in_port=1,udp,nw_src={dotted(src)},nw_dst={dotted(dst)},tp_src={sport},tp_dst={dport},"
                   "actions=output:2")
        yield "priority=1,actions=output:2"
    return rules


def masks20():
    """Twenty datapath masks, whatever the flows: the first table goes by the low bits of the source port, the
    k-th behind it looks at one bit of the source's Ethernet address."""
    for bucket in range(32):
        yield f"table=0,in_port=1,udp,tp_src={bucket:#x}/0x1f,actions=goto_table:{1 + bucket % 20}"
    source = 0x020000000001
    mac = lambda v: ":".join(f"{v >> s & 255:02x}" for s in range(40, -1, -8))
    for k in range(20):
        yield f"table={1 + k},dl_src={mac(source & 1 << k)}/{mac(1 << k)},actions=output:2"


def all_cells():
    wild = lambda: ["in_port=1,actions=output:2"]
    one = lambda: ["in_port=1,ip,nw_src=10.0.0.0/8,actions=output:2"]
    cells = [Veth("veth output", 1, None, True), Veth("veth output x4", 4, 1.3, False),
             Dpdk("dpdk null, in_port", 0, wild, 1.8, ["emc"], limit=True)]
    cells += [Dpdk(f"dpdk wildip {n}", SIZES[n], one, r, limit=True)
              for n, r in (("1", 1.6), ("1k", 1.6), ("10k", 2.2), ("100k", 2.2))]
    cells += [Dpdk(f"dpdk exact {n}", SIZES[n], exact(SIZES[n]), r) for n, r in (("1k", 1.7), ("10k", 2.5), ("100k", 3))]
    cells += [Dpdk(f"dpdk masks20 {n}", SIZES[n], masks20, 2) for n in ("10k", "100k")]
    cells += [Dpdk(f"dpdk masks20 {n}, caches off", SIZES[n], masks20, 3, ["none"]) for n in ("10k", "100k")]
    both = lambda m: [f"in_port=1{m},actions=output:2", f"in_port=2{m},actions=output:1"]
    halves = both(",ip,nw_dst=0.0.0.0/1") + both(",ip,nw_dst=128.0.0.0/1")
    cells += [Vhost("vhost 2 ports", 1, both(""), 1.3), Vhost("vhost 2 ports, wildip 1k", 1000, halves, None),
              Setup("flow setup 200k", None, "memory per flow", 1200)]
    return cells
