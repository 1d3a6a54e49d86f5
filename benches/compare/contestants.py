"""The programs that are compared, each with processes, namespaces and a database of its own.

All contestants of a cell are up at once; between its turns a contestant is stopped (SIGSTOP).
"""
import json, os, re, signal, subprocess, time
from host import Failed, read, sh, wait_for

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
SINK_MAC = "02:00:00:00:00:02"
# Settings of Open vSwitch's caches: smc-enable, emc-insert-inv-prob.
CACHES = {"emc": ("false", "100"), "smc": ("true", "100"), "none": ("false", "0")}


class Contestant:
    """A forwarding program with its processes; stopped between its turns."""

    def __init__(self, name, work):
        self.name, self.dir = name, f"{work}/{name}"
        self.processes, self.spaces, self.turning = [], [], []
        os.makedirs(self.dir, exist_ok=True)

    def space(self, suffix):
        space = f"rwc-{self.name}-{suffix}"
        sh("ip", "netns", "del", space, check=False)
        sh("ip", "netns", "add", space)
        self.spaces.append(space)
        sh("ip", "-n", space, "link", "set", "lo", "up")
        sh("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
           "net.ipv6.conf.default.disable_ipv6=1")
        return space

    def veths(self):
        self.outside, self.inside = self.space("gen"), self.space("sw")
        for i in (0, 1):
            sh("ip", "-n", self.outside, "link", "add", f"g{i}", "numtxqueues", "1", "numrxqueues", "1", "type", "veth",
               "peer", "name", f"s{i}", "numtxqueues", "1", "numrxqueues", "1", "netns", self.inside)
            sh("ip", "-n", self.outside, "link", "set", f"g{i}", "up")
            sh("ip", "-n", self.inside, "link", "set", f"s{i}", "up")

    def start(self, *command, log="output.log", **options):
        out = open(f"{self.dir}/{log}", "a")
        try:
            process = subprocess.Popen(command, stdin=options.pop("stdin", subprocess.DEVNULL), stdout=out, stderr=out, **options)
        except OSError as e:
            raise Failed(f"{command[0]}: {e.strerror}") from None
        finally:
            out.close()
        self.processes.append(process)
        return process

    def check(self):
        """Failed when a program of ours ended, with its last words."""
        for process in self.processes:
            if process.poll() is not None:
                logs = [read(f"{self.dir}/{log}").strip().splitlines() for log in ("output.log", "switch.log")]
                words = next((lines[-1] for lines in logs if lines), "it said nothing")
                raise Failed(f"{self.name}: {os.path.basename(process.args[0])} ended with {process.returncode}: {words}")

    def go(self):
        for pid in self.turning:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.15)

    def halt(self):
        for pid in self.turning:
            os.kill(pid, signal.SIGSTOP)

    def close(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for space in self.spaces:
            sh("ip", "netns", "del", space, check=False)

    def veth_rate(self, ringway, seconds):
        """Packets a microsecond that arrive at g1 while g0 sends as fast as it can."""
        generator = subprocess.Popen(
            ["ip", "netns", "exec", self.outside, "taskset", "-c", "0", ringway, "pktgen", "--dev", "g0", "--class", "afxdp",
             "--dst-mac", SINK_MAC, "--dst-ip", "10.9.0.2", "--seconds", "60"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            time.sleep(0.4)
            if generator.poll() is not None:
                raise Failed(f"the generator ended: {generator.stderr.read().strip()}")
            before, begun = self.arrived(), time.perf_counter()
            time.sleep(seconds)
            return (self.arrived() - before) / (time.perf_counter() - begun) / 1e6
        finally:
            generator.kill()
            generator.wait()

    def arrived(self):
        link = json.loads(sh("ip", "-n", self.outside, "-s", "-j", "link", "show", "g1"))[0]
        return link["stats64"]["rx"]["packets"]


class Switch(Contestant):
    """A program that takes the place of ovs-vswitchd, with an ovsdb-server of its own.

    `ports`: (name, class, options) in the order of their numbers.
    """

    def __init__(self, name, work, binary, settings, veth=False):
        super().__init__(name, work)
        self.binary, self.settings = binary, settings
        self.env = dict(os.environ, OVS_RUNDIR=self.dir, OVS_LOGDIR=self.dir, OVS_DBDIR=self.dir, OVS_SYSCONFDIR=self.dir,
                        LIBXDP_SKIP_DISPATCHER="1")
        if veth:
            self.veths()
        else:
            self.inside = self.space("sw")

    def up(self, ports, rules):
        """Starts it, with a bridge."""
        self.database()
        self.daemon()
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail-mode=secure",
                   "other-config:disable-in-band=true")
        self.flows(rules)
        for number, port in enumerate(ports, 1):
            self.port(number, *port)
        # Open vSwitch begins with a dynamic limit of 10,000 flows.
        self.appctl("upcall/set-flow-limit", "500000", check=False)

    def database(self):
        db = f"{self.dir}/conf.db"
        sh("ovsdb-tool", "create", db, SCHEMA)
        self.start("ovsdb-server", db, f"--remote=punix:{self.dir}/db.sock", "--no-chdir", "-vconsole:off",
                   f"--unixctl={self.dir}/db.ctl", env=self.env)
        wait_for("the database's start", lambda: self.check() or os.path.exists(f"{self.dir}/db.sock"))
        self.vsctl("--no-wait", "init")
        settings = {"pmd-cpu-mask": "0x2", "max-idle": "600000", "flow-limit": "500000", **self.settings}
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", *(f'other_config:{k}="{v}"' for k, v in settings.items()))

    def daemon(self):
        # Called by this name, Ringway takes ovs-vswitchd's command line.
        program = f"{self.dir}/ovs-vswitchd"
        os.symlink(os.path.realpath(self.binary), program)
        pidfile = f"{self.dir}/ovs-vswitchd.pid"
        self.start("ip", "netns", "exec", self.inside, program, f"unix:{self.dir}/db.sock", f"--pidfile={pidfile}",
                   f"--unixctl={self.dir}/sw.ctl", "--no-chdir", "-vconsole:off", f"--log-file={self.dir}/switch.log",
                   env=self.env)
        wait_for(f"{self.name}'s start", lambda: self.check() or os.path.exists(pidfile))
        self.pid = int(read(pidfile))
        self.turning.append(self.pid)

    def port(self, number, name, kind, options):
        self.vsctl("add-port", "br0", name, "--", "set", "interface", name, f"type={kind}", f"ofport_request={number}",
                   *(f'options:{k}="{v}"' for k, v in options.items()))
        error = self.vsctl("get", "interface", name, "error").strip()
        if error not in ("[]", '""'):
            raise Failed(f"{self.name}: port {name}: {error}")

    def flows(self, rules):
        with open(f"{self.dir}/rules", "w") as f:
            f.write("\n".join(rules) + "\n")
        self.ofctl("del-flows", "br0")
        self.ofctl("--bundle", "add-flows", "br0", f"{self.dir}/rules")

    def vsctl(self, *words):
        return sh("ovs-vsctl", f"--db=unix:{self.dir}/db.sock", "--timeout=50", *words, env=self.env)

    def ofctl(self, *words):
        return sh("ovs-ofctl", *words, env=self.env, timeout=120)

    def appctl(self, *words, check=True):
        return sh("ovs-appctl", "-t", f"{self.dir}/sw.ctl", *words, env=self.env, check=check)

    def transmitted(self, port=2):
        found = re.search(r"tx pkts=(\d+)", self.ofctl("dump-ports", "br0", str(port)))
        if not found:
            raise Failed(f"{self.name}: dump-ports shows no tx pkts of port {port}")
        return int(found.group(1))

    def rate(self, seconds):
        before, begun = self.transmitted(), time.perf_counter()
        time.sleep(seconds)
        return (self.transmitted() - before) / (time.perf_counter() - begun) / 1e6

    def set_caches(self, setting):
        smc, insert = CACHES[setting]
        self.vsctl("set", "Open_vSwitch", ".", f"other_config:smc-enable={smc}", f"other_config:emc-insert-inv-prob={insert}")
        # Not dpctl/del-flows: that leaves the peer's revalidators behind, and upcalls then fail for seconds.
        self.appctl("revalidator/purge")

    def settle(self, seconds=40):
        """Waits until nothing misses any more: every flow is installed."""
        pattern = r"miss with (?:success|failed) upcall: (\d+)"
        last, end = None, time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.3)
            misses = sum(map(int, re.findall(pattern, self.appctl("dpif-netdev/pmd-stats-show"))))
            if misses == last:
                return
            last = misses
        raise Failed(f"{self.name}: packets still missed after {seconds} s")


class Testpmd(Contestant):
    """DPDK's forwarder and generator, asked through its own prompt."""

    def __init__(self, name, work, vdevs, cores="0,1", mode="io", memory=("--in-memory", "-m", "1024"), mbufs=65536, veth=False,
                 more=()):
        super().__init__(name, work)
        if veth:
            self.veths()
        else:
            self.inside = self.space("sw")
        lcores = ["-l", cores] if cores != "0" else ["--lcores=0@0,1@0", "--main-lcore=0"]
        self.process = self.start(
            "ip", "netns", "exec", self.inside, "stdbuf", "-oL", "dpdk-testpmd", "--no-pci", *lcores,
            f"--file-prefix=rwc-{name}-{os.getpid()}", *memory, *(f"--vdev={v}" for v in vdevs), "--", "-i", "--nb-cores=1",
            f"--forward-mode={mode}", f"--total-num-mbufs={mbufs}", "--rxd=1024", "--txd=1024", "--no-lsc-interrupt",
            "--no-mlockall", *more, stdin=subprocess.PIPE, text=True)
        self.turning.append(self.process.pid)
        self.log = f"{self.dir}/output.log"

    def ask(self, *commands, seconds=30):
        """What it says to commands."""
        begun, mark = os.path.getsize(self.log), f"nosuch{time.time_ns()}"
        try:
            self.process.stdin.write("".join(f"{c}\n" for c in (*commands, f"show {mark}")))
            self.process.stdin.flush()
        except OSError:
            self.check()
            raise

        def answered():
            self.check()
            # The prompt repeats the mark; only what is refused after it is its own refusal.
            return "Bad arguments" in read(self.log)[begun:].partition(mark)[2]
        wait_for(f"{self.name}'s answer", answered, seconds)
        return read(self.log)[begun:]

    def check(self):
        if self.process.poll() is not None:
            said = [l for l in read(self.log).splitlines() if re.search("error|cannot|fail|panic|cause", l, re.I)]
            raise Failed(f"{self.name} ended with {self.process.returncode}: {(said or ['it said nothing'])[-1]}")

    def counted(self):
        """{port: (received, sent)}"""
        pattern = r"NIC statistics for port (\d+).*?RX-packets: (\d+).*?TX-packets: (\d+)"
        said = self.ask("show port stats all")
        found = re.findall(pattern, said, re.S)
        if not found:
            raise Failed(f"{self.name}: no statistics in {said!r}")
        return {int(p): (int(r), int(t)) for p, r, t in found}

    def rate(self, seconds, ports, way):
        """Packets a microsecond received (0) or sent (1) by the ports."""
        before, begun = self.counted(), time.perf_counter()
        time.sleep(seconds)
        after, spent = self.counted(), time.perf_counter() - begun
        return sum(after[p][way] - before[p][way] for p in ports) / spent / 1e6
