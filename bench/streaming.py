"""Memory and first step of a run on 2 GB of WebDataset shards in a bucket, against the same run on two small shards.

An S3 server (moto, over HTTP) holds 40 shards of 480 images of 192x192 in colour, not compressed. A small CNN trains
one epoch on them. Each arm is a process of its own with two processes that decode; reported are

- peak memory (VmHWM) of the training process, and of the largest decoding one, minus those of the small arm;
- seconds from the start of the run, imports included, to the end of its first step, and to that of its last one,
  when all shards have arrived;
- the largest number of bytes in the cache, which is limited to a quarter of the data.

Every sample must be seen exactly once.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from pairing import Machine

SHARDS, EACH, SIDE = 40, 480, 192
KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "something", "AWS_DEFAULT_REGION": "us-east-1"}
JOB = """
task: image-classification
architecture: {{family: cnn, channels: [4, 8]}}
dataset: {{source: s3://shards/{prefix}/, loading: streaming, split: none}}
training: {{epochs: 1, batch_size: 64, precision: fp32}}
resources: {{cpus: 1}}
"""
SERVER = """
import time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
time.sleep(1e6)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=SHARDS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(run(arguments.run)), flush=True)
        os._exit(0)
    machine = Machine()
    with tempfile.TemporaryDirectory() as place, server() as endpoint:
        size = fill(endpoint, arguments.shards)
        limit = {"STOKER_CACHE_SIZE": f"{size / 4 / 2**20:.0f}MiB"}
        environment = {**os.environ, **KEYS, **limit, "AWS_ENDPOINT_URL": endpoint}
        found = {}
        for name in ("small", "large"):
            arm = {**environment, "STOKER_CACHE": f"{place}/{name}", "BENCH_BEGAN": str(time.time())}
            command = [sys.executable, __file__, "--run", name]
            done = subprocess.run(command, env=arm, stdout=subprocess.PIPE, check=True)
            found[name] = json.loads(done.stdout)
        small, large = found["small"], found["large"]
        assert large["samples"] == large["distinct"] == arguments.shards * EACH
        print(f"{size / 1e9:.2f} GB in {arguments.shards} shards, {large['samples']:,} images")
        for process in ("training", "decoding"):
            more = large[process] - small[process]
            print(f"  {process:10} {large[process] / 2**20:.0f} MiB at most, {more / 2**20:.0f} more than at rest")
        print(f"  first step after {large['first_s']:.1f} s, the last after {large['last_s']:.1f} s")
        print(f"  {large['cached'] / 1e9:.2f} GB in the cache at most; steps waited {large['waited']:.0%} of the time")
        machine.describe()


@contextmanager
def server() -> Iterator[str]:
    """An S3 server in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.kill()
    process.wait()


def fill(endpoint: str, shards: int) -> int:
    """Put the shards of both arms into the bucket; return the bytes of the large one."""
    import boto3

    client = boto3.session.Session(
        KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], region_name=KEYS["AWS_DEFAULT_REGION"]
    ).client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="shards")
    rng = np.random.default_rng(0)
    size = 0
    for prefix, count, each in (("small", 2, 64), ("large", shards, EACH)):
        for number in range(count):
            content = shard(rng, number * each, each)
            client.put_object(Bucket="shards", Key=f"{prefix}/{number:04}.tar", Body=content)
            size += len(content) if prefix == "large" else 0
        index = [{"url": f"{number:04}.tar", "nsamples": each} for number in range(count)]
        client.put_object(Bucket="shards", Key=f"{prefix}/shards.json", Body=json.dumps({"shardlist": index}))
    return size


def shard(rng: np.random.Generator, begin: int, count: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for number in range(begin, begin + count):
            picture = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(picture, "bmp")
            for extension, data in {"bmp": picture.getvalue(), "cls": str(number % 10).encode()}.items():
                entry = tarfile.TarInfo(f"{number:06}.{extension}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def run(prefix: str) -> dict[str, float]:
    """Train one epoch, as a worker does."""
    began = float(os.environ["BENCH_BEGAN"])
    from stoker.datasets.cache import open_cache
    from stoker.datasets.cache.blobs import Blobs
    from stoker.jobfile.loading import parse_job
    from stoker.training.assembly import assemble
    from stoker.training.events import StepEnd
    from stoker.training.loop import start, train
    from stoker.training.parallel import prepare_process
    from stoker.training.preparation import prepare

    prepare_process(1)
    assembly = assemble(prepare(parse_job(JOB.format(prefix=prefix), "job").task_job))
    state = start(assembly)
    prefetcher = state.batches.prefetcher
    assert prefetcher
    blobs = Blobs(open_cache().folder)
    first, last, waited, cached, children = 0.0, 0.0, 0.0, 0, 0
    trained = time.monotonic()
    ids: list[int] = []
    for event in train("bench", state, 10**9):
        if isinstance(event, StepEnd):
            first = first or time.time() - began
            last = time.time() - began
            waited = prefetcher.waited_s / (time.monotonic() - trained)
            ids += state.batches.ids(0, event.step - 1)
            if event.step % 10 == 1:
                cached = max(cached, blobs.size())
                children = max(children, *map(peak, child_pids()))
    return {
        "training": peak(os.getpid()),
        "decoding": children,
        "first_s": first,
        "last_s": last,
        "cached": cached,
        "samples": len(ids),
        "distinct": len(set(ids)),
        "waited": waited,
    }


def child_pids() -> list[int]:
    import psutil

    return [each.pid for each in psutil.Process().children(recursive=True)]


def peak(pid: int) -> int:
    """Return the largest memory that a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    main()
