"""What the comparison needs of the machine: commands, waiting, huge pages, and what else runs meanwhile."""
import os, platform, re, subprocess, time

HUGE = "/proc/sys/vm/nr_hugepages"


class Failed(Exception):
    """Something that a cell needs did not work; its text is the reason in the report."""


def sh(*command, check=True, env=None, timeout=60):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=env, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command[:6])}: no end within {timeout} s") from None
    except OSError as e:
        raise Failed(f"{command[0]}: {e.strerror}") from None
    if check and done.returncode:
        raise Failed(f"{' '.join(command[:6])}: exit {done.returncode}: {done.stdout.strip()}")
    return done.stdout


def wait_for(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)


def read(path, default=""):
    try:
        with open(path, "rb") as f:     # an octet is a character: offsets stay true
            return f.read().decode("latin-1")
    except OSError:
        return default


class HugePages:
    """Raises the number of huge pages when it must, and puts back what was there."""

    def __init__(self):
        self.found = self.ours = None

    def need(self, megabytes):
        """At least this much free, or Failed."""
        if self.free() >= megabytes:
            return
        now = int(read(HUGE))
        if self.found is None:
            self.found = now
        missing = (megabytes - self.free()) // self.size() + 1
        with open(HUGE, "w") as f:
            f.write(str(now + missing))
        self.ours = int(read(HUGE))
        if self.free() < megabytes:
            raise Failed(f"{megabytes} MB of huge pages are needed, the machine has only {self.free()} MB to give")

    def restore(self):
        # Somebody else's number is left alone.
        if self.found is not None and int(read(HUGE)) == self.ours:
            with open(HUGE, "w") as f:
                f.write(str(self.found))

    @staticmethod
    def meminfo(key):
        return int(re.search(rf"^{key}:\s+(\d+)", read("/proc/meminfo"), re.M).group(1))

    def size(self):
        return self.meminfo("Hugepagesize") // 1024

    def free(self):
        return self.meminfo("HugePages_Free") * self.size()


class Others:
    """How much processor time other people's programs take."""

    def __init__(self):
        self.at, self.used = time.monotonic(), self.jiffies()

    @staticmethod
    def jiffies():
        """Of every process that is neither ours nor the kernel's, with children that ended."""
        parents, used = {}, {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[-1].split()
            if len(fields) > 15:
                parents[int(pid)] = int(fields[1])
                used[int(pid)] = sum(map(int, fields[11:15]))
        me, total = os.getpid(), 0
        for pid, jiffies in used.items():
            up, steps = pid, 0
            while up not in (me, 2, 0, 1) and steps < 64:
                up, steps = parents.get(up, 0), steps + 1
            total += jiffies if up not in (me, 2) else 0
        return total

    def percent(self):
        """Of one core, since this was made."""
        spent = max(time.monotonic() - self.at, 0.01)
        return round(max(0, self.jiffies() - self.used) / os.sysconf("SC_CLK_TCK") / spent * 100)


def machine():
    model = re.search(r"model name\s*:\s*(.*)", read("/proc/cpuinfo"))
    version = sh("ovs-vswitchd", "--version", check=False).splitlines()
    return {"cpu": model.group(1) if model else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(),
            "memory": f"{HugePages.meminfo('MemTotal') // 1048576} GB", "ovs": version[0] if version else "?"}


def commit(root):
    """The commit that was built, as far as the work tree tells."""
    short = sh("git", "-C", root, "rev-parse", "--short", "HEAD", check=False).strip()
    dirty = sh("git", "-C", root, "status", "--porcelain", "--untracked-files=no", "src", check=False).strip()
    return short + ("+" if dirty else "")
