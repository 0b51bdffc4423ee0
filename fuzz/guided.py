"""The coverage-guided part: ``python -m fuzz.guided TARGET RUNS SEED FOLDER``, started by ``python -m fuzz``; needs atheris.

FOLDER holds the corpus, which grows, and takes the input that broke a claim. Exit status: 0 when no claim was broken.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

from fuzz.target import LARGEST_INPUT

SEEDS_EACH = 300
"""Valid inputs that the corpus begins with, evenly spread."""
HANG_SECONDS = 60
"""After which an input that has not ended is a finding."""
INSTRUMENTED = ("corosyncd", "coroipc", "libcpg", "libquorum", "libcmap", "libvotequorum", "libcfg", "libsam")


def main() -> None:
    """Does not return: libFuzzer ends the process."""
    name, runs, seed, folder = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        from fuzz.run import run_one
        from fuzz.targets import TARGETS
    # Whoever started this removes the folder; this process is ended without cleaning up.
    tempfile.tempdir = str(folder)
    target = TARGETS[name]()
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds[:: max(1, len(target.seeds) // SEEDS_EACH)]):
        (corpus / f"seed-{number}").write_bytes(data)
    limits = (f"-runs={runs}", f"-seed={seed}", f"-max_len={LARGEST_INPUT}", f"-timeout={HANG_SECONDS}")
    output = (f"-artifact_prefix={folder}/", "-verbosity=1")
    atheris.Setup([sys.argv[0], *limits, *output, str(corpus)], lambda data: run_one(target, data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
