"""Adds up JUnit-style reports and prints `N passed, M failed, K skipped` as the last line."""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def count(report: pathlib.Path) -> tuple[int, int, int]:
    """Passed, failed and skipped tests of one report, from its cases where it lists them."""
    root = ElementTree.parse(report).getroot()
    cases = list(root.iter("testcase"))
    if not cases:
        tests, failures = int(root.get("tests", 0)), int(root.get("failures", 0))
        return tests - failures, failures, 0
    failed = sum(1 for case in cases if case.find("failure") is not None or case.find("error") is not None)
    skipped = sum(1 for case in cases if case.find("skipped") is not None or case.get("result") == "skipped")
    return len(cases) - failed - skipped, failed, skipped


def main() -> int:
    """Prints the total and returns the exit status."""
    totals = [count(report) for report in sorted(pathlib.Path(sys.argv[1]).glob("*.xml"))]
    passed, failed, skipped = (sum(column) for column in zip(*totals))
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
