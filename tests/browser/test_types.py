"""The JSDoc types of the scripts, by the TypeScript compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "ctrader_twisted" / "web" / "static"
OPTIONS = (
    "--noEmit --allowJs --checkJs --strict --target es2023 --lib es2023,dom,dom.iterable "
    "--module nodenext --moduleResolution nodenext"
)

#: What a user of the module may rely on, and what must be refused.
CUSTOMER = """
import { CtraderStream } from %(module)s;
const stream = new CtraderStream('/ws', { token: 'k' });
const stop = stream.subscribe(['EURUSD'], (tick) => tick.bid.toFixed(tick.digits));
stream.on('status', ({ retryAt }) => retryAt === null || retryAt.toFixed());
stream.on('error', ({ symbol, fatal }) => fatal || symbol?.length);
stop();
// @ts-expect-error
stream.on('novelty', () => {});
// @ts-expect-error
stream.subscribe(['EURUSD'], (tick) => tick.bit);
"""


def test_types_are_whole_and_of_use(from_npm: Path, tmp_path: Path) -> None:
    """Strict, without a complaint; and a customer in TypeScript gets what the document says."""
    compiler = from_npm / "typescript" / "bin" / "tsc"
    node = shutil.which("node")
    if node is None or not compiler.exists():
        pytest.skip("TypeScript could not be had from npm: THE TYPES WERE NOT CHECKED")
    customer = tmp_path / "customer.mts"
    customer.write_text(CUSTOMER % {"module": repr(str(STATIC / "ctrader-stream.js"))})
    checked = subprocess.run(
        [node, str(compiler), *OPTIONS.split(), str(customer), str(STATIC / "page" / "app.js")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert checked.returncode == 0, checked.stdout
