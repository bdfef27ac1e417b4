"""Jobs that take more than their share, and jobs that look around. All are bounded, should nothing stop them."""

import os
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path


def eat_memory():
    held = []
    while sum(map(len, held)) < 1 << 30:
        held.append(bytearray(b"x" * (8 << 20)))


def eat_memory_in_many_processes():
    """Each below the limit, together above it."""
    for _ in range(5):
        if os.fork() == 0:
            held = bytearray(b"x" * (40 << 20))
            time.sleep(60)
            os._exit(len(held) & 1)
    time.sleep(60)


def fork_bomb():
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    time.sleep(60)


def leave_files(leaves):
    """Where it may leave files, and which there were."""
    place = Path(tempfile.gettempdir())
    names = os.listdir(place)
    if leaves:
        (place / "left").write_text("x")
    print("a line")
    return str(place), names


def namespace():
    return os.readlink("/proc/self/ns/user")


def forks_given():
    """How many processes a job gets that stops when it is refused one."""
    pids = []
    try:
        while len(pids) < 200:
            pids.append(os.fork())
            if pids[-1] == 0:
                time.sleep(60)
                os._exit(0)
    except BlockingIOError:
        pass
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(pids)


def thread_bomb():
    for _ in range(200):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def flood_files():
    """Many small files."""
    for number in range(200_000):
        Path(tempfile.gettempdir(), str(number)).touch()
    time.sleep(60)


def dig_deep():
    """Folders in folders, deeper than a path may be long."""
    os.chdir(tempfile.gettempdir())
    for _ in range(30):
        os.mkdir("x" * 200)
        os.chdir("x" * 200)
    time.sleep(60)


def flood_disk():
    """Files of a size that each may have."""
    for number in range(50):
        Path(tempfile.gettempdir(), str(number)).write_bytes(b"x" * (1 << 20))
    time.sleep(60)


def one_large_file():
    with open(Path(tempfile.gettempdir(), "large"), "wb") as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))


def print_much():
    for _ in range(64):
        sys.stdout.write("x" * (1 << 20))
    sys.stdout.flush()


def open_files():
    for _ in range(4096):
        os.open("/dev/null", os.O_RDONLY)


def spin():
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pass


def swallow_timeout(path):
    """Goes on after the exception, for as long as the test could wait."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            time.sleep(1)
        except BaseException:
            Path(path).touch()


def leave_a_process(path):
    """A grandchild in a session of its own, whose parent is gone."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path(path).write_text(str(os.getpid()))
            time.sleep(60)
        os._exit(0)
    while not Path(path).exists() or not Path(path).read_text():
        time.sleep(0.01)


def look_around(outside):
    """What this job can do, by name; True: it can."""
    attempts = {
        "write outside": lambda: Path(outside, "file").touch(),
        "remove outside": lambda: Path(outside, "there").unlink(),
        "write /tmp": lambda: Path("/tmp", f"pw-{os.getpid()}").touch(),
        "write temporary": lambda: tempfile.NamedTemporaryFile().close(),
        "write /dev/null": lambda: Path("/dev/null").write_text("x"),
        "become root": lambda: os.setuid(0),
        "signal the worker": lambda: os.kill(os.getppid(), 0),
        "read the worker's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "read the worker's memory": lambda: open(f"/proc/{os.getppid()}/mem", "rb").close(),
        "new namespace": lambda: os.unshare(0x10000000),
        "memory without a process": lambda: os.memfd_create("x"),
        "raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "nice below zero": lambda: os.nice(-5),
        "fork": _fork,
    }
    can = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            can[name] = True
        except OSError:
            can[name] = False
    return can | {"uid": os.getresuid()[0], "groups": len(os.getgroups()), "temporary": tempfile.gettempdir()}


def connect(tcp, udp, abstract, path):
    """Which of these sockets answer."""
    can = {}
    with suppress(OSError), socket.create_connection(("127.0.0.1", tcp), timeout=5):
        can["tcp"] = True
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(b"x", ("127.0.0.1", udp))
        can["udp"] = sock.recv(1) == b"x"
    for name, address in (("abstract", f"\0{abstract}"), ("pathname", path)):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(address)
            can[name] = True
    return can


def find(text, places):
    """Which of these files of any process hold the text, and how many could be read at all."""
    held, read = [], 0
    for place in places:
        for path in Path("/proc").glob(f"[0-9]*/{place}"):
            with suppress(OSError):
                read += 1
                held += [str(path)] if text.encode() in path.read_bytes() else []
    return held, read


def _fork():
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def status():
    """What the kernel says of this process."""
    text = Path("/proc/self/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def usual():
    """What ordinary jobs do under any profile: a thread, a program, a file, a name to resolve."""
    import subprocess

    done = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    said = subprocess.run(["/bin/echo", "hello"], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write(said)
        file.seek(0)
        return [file.read(), done, bool(socket.getaddrinfo("localhost", 80))]
