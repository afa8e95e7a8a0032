#!/usr/bin/env python3
"""Records the digests of what the kernels compute: tests/golden/kernels_digest.txt.

Runs build/cpu_test without the recorded digests, so that it tells those it found. Every instruction set of
this processor must tell the same ones. Digests of numerics that this processor lacks stay as they are.
A digest that changes needs a new name of its numerics profile (ARCHITECTURE.md, "Numerics").
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "tests" / "golden" / "kernels_digest.txt"
LINE = re.compile(r"^(\S+) (\S+) ([0-9a-f]{32})$", re.M)


def found_digests(old: str) -> dict[tuple[str, str], str]:
    """What the test tells when it has nothing to compare with."""
    TARGET.write_text("")
    try:
        done = subprocess.run([ROOT / "build" / "cpu_test", "--gtest_filter=*Digest*"], capture_output=True,
                              text=True, check=False)
    finally:
        TARGET.write_text(old)
    found: dict[tuple[str, str], str] = {}
    for profile, what, digest in LINE.findall(done.stdout):
        if found.setdefault((profile, what), digest) != digest:
            sys.exit(f"{profile} {what}: instruction sets of this processor do not agree")
    if not found:
        sys.exit("the test told no digests:\n" + done.stdout[-2000:])
    return found


def main() -> None:
    """Writes the found digests over the recorded ones, and says which have changed."""
    old = TARGET.read_text()
    digests = {(profile, what): digest for profile, what, digest in LINE.findall(old)}
    found = found_digests(old)
    profiles = {profile for profile, _ in found}
    for key in sorted(key for key, digest in found.items() if digests.get(key) not in (None, digest)):
        print("changed:", *key)
    digests = {key: digest for key, digest in digests.items() if key[0] not in profiles} | found
    TARGET.write_text("".join(f"{profile} {what} {digest}\n" for (profile, what), digest in sorted(digests.items())))
    print(f"{len(found)} digests of {', '.join(sorted(profiles))} recorded, {len(digests)} in the file")


if __name__ == "__main__":
    main()
